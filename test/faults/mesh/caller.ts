import { HEADERS, StreamFrame, type JobRequestInput } from "../../../bus-schemas/index.ts";
import { MeshClient, type CallOptions } from "../../../client/index.ts";
import type { Bus } from "../../../service/bus.ts";
import { decode, encode } from "../../../service/codec.ts";
import { newId } from "../../../service/ids.ts";
import { pause } from "../../../service/loop.ts";
import { header, headersFor } from "../../../service/messages.ts";
import type { Connection } from "../world/connection.ts";
import type { Proc } from "../world/world.ts";
import type { CallerJob } from "./history.ts";
import { Member } from "./parts.ts";

/** What a caller does with one job. */
export interface Errand {
  job: CallerJob;
  request: JobRequestInput;
  options: CallOptions;
  /** It cancels after this time, milliseconds. */
  cancelAfterMs: number | undefined;
  /** It takes so long over each frame, milliseconds. */
  readsSlowlyMs: number;
}

/** A program of somebody's: MeshClient as it is, and requests by hand as `nats req` makes them. */
export class SimCaller extends Member {
  #bus: Bus | undefined;
  #client: MeshClient | undefined;
  readonly #open = new Set<CallerJob>();

  protected override live(_proc: Proc, connection: Connection): void {
    this.#bus = this.around.sabotage.callerBus(connection.bus);
    this.#client = new MeshClient(this.#bus);
  }

  override async stop(): Promise<void> {
    await this.#client?.close();
  }

  protected override died(): void {
    for (const job of this.#open) job.callerLostAtMs = this.around.world.nowMs;
    this.#open.clear();
  }

  override leftovers(): string[] {
    return [...this.#open].map(({ id }) => `${id} has no ending`);
  }

  /** Starts a job of this caller, if it lives. */
  submit(errand: Errand): void {
    if (!this.alive || this.proc === undefined) return;
    const { history, world } = this.around;
    const { proc } = this;
    world.at(
      world.nowMs,
      () => {
        errand.job.startedAtMs = world.nowMs;
        history.jobs.push(errand.job);
        this.#open.add(errand.job);
        world.note(`submits ${errand.job.id} (${errand.job.way}, ${errand.job.strictest})`);
        const done = errand.job.way === "client" ? this.#byClient(errand) : this.#byHand(errand);
        done
          .catch((error: unknown) => (errand.job.threw = String(error)))
          .finally(() => {
            errand.job.closedAtMs = world.nowMs;
            this.#open.delete(errand.job);
            world.note(`${errand.job.id} is over: ${errand.job.frames.at(-1)?.frame.type}`);
          });
      },
      proc,
    );
  }

  async #byClient({ job, request, options, cancelAfterMs, readsSlowlyMs }: Errand): Promise<void> {
    const abort = new AbortController();
    if (cancelAfterMs !== undefined)
      setTimeout(() => {
        if (!this.#open.has(job)) return;
        job.cancelledAtMs = this.around.world.nowMs;
        abort.abort();
      }, cancelAfterMs);
    for await (const frame of this.#client?.stream(request, { ...options, signal: abort.signal }) ?? []) {
      this.#take(job, frame);
      if (readsSlowlyMs > 0) await pause(readsSlowlyMs);
    }
  }

  async #byHand({ job, request, options, cancelAfterMs }: Errand): Promise<void> {
    const bus = this.#bus as Bus;
    const inbox = `_INBOX.hand.${newId()}`;
    const { promise, resolve } = Promise.withResolvers<void>();
    // It goes on listening after the end: nothing may come.
    bus.listen(inbox, (msg) => {
      if (msg.headers?.code === 503) {
        job.threw = "no router listens";
        return resolve();
      }
      const frame = StreamFrame.parse(decode(msg.data, header(msg, HEADERS.contentType)));
      this.#take(job, frame);
      if (frame.type === "end") resolve();
    });
    const headers = headersFor("json", { [HEADERS.job]: job.id, [HEADERS.dataClass]: options.dataClass });
    bus.nc.publish(bus.subjects.submit(options.queue ?? "chat"), encode({ ...request, stream: job.stream }, "json"), {
      headers,
      reply: inbox,
    });
    if (cancelAfterMs !== undefined)
      setTimeout(() => {
        if (!this.#open.has(job)) return;
        job.cancelledAtMs = this.around.world.nowMs;
        bus.nc.publish(bus.subjects.cancel(job.id), "");
      }, cancelAfterMs);
    await Promise.race([promise, pause(job.endsByMs - this.around.world.nowMs)]);
  }

  #take(job: CallerJob, frame: StreamFrame): void {
    job.frames.push({ atMs: this.around.world.nowMs, frame });
    if (frame.type !== "delta" && frame.type !== "working")
      this.around.world.note(`${job.id} hears ${frame.type} ${frame.type === "end" ? frame.status : ""}`);
  }
}
