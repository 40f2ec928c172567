import {
  AckPolicy,
  JetStreamApiError,
  jetstream,
  jetstreamManager,
  type ConsumerMessages,
  type JetStreamManager,
  type JsMsg,
} from "@nats-io/jetstream";
import { MeshError, lastToken, type QueuePolicy } from "../../bus-schemas/index.ts";
import { startLoop } from "../../service/loop.ts";
import { readWork, type Claim } from "./claim.ts";
import type { Endings } from "./endings.ts";
import type { Held } from "./job-store.ts";
import type { DurableParts } from "./parts.ts";
import { hasEnded, type Runner } from "./runner.ts";

/** What the broker hears nothing of for this time it gives to another router, milliseconds. */
const ACK_WAIT_MS = 6000;
/** Jobs that one router asks the broker for at once; their number over all routers is the broker's to bound. */
const MAX_ASKED = 64;
/** A job that was given out so often and never ran stops whoever takes it. */
const MAX_DELIVERIES = 30;
/** Another router says within this time whether it still has a job, milliseconds. */
const HOLDER_LIMIT_MS = 1000;

interface Session {
  messages: ConsumerMessages;
  cap: number;
}

interface Batch {
  claims: Claim[];
  timer: NodeJS.Timeout;
}

/**
 * Takes durable jobs from the broker, queue by queue. One consumer a queue serves all routers, and its max_ack_pending is the
 * policy's max_concurrency: the broker holds the cap, whatever routers come and go.
 */
export class Puller {
  readonly #parts: DurableParts;
  readonly #runner: Runner;
  readonly #endings: Endings;
  readonly #holder: string;
  readonly #sessions = new Map<string, Session>();
  readonly #claims = new Map<string, Claim>();
  readonly #reading = new Set<string>();
  readonly #batches = new Map<string, Batch>();
  readonly #stop = new AbortController();
  readonly #loops: { stop(): Promise<void> }[] = [];
  #manager: JetStreamManager | undefined;
  #warned = false;

  constructor(parts: DurableParts, runner: Runner, endings: Endings, holder: string) {
    this.#parts = parts;
    this.#runner = runner;
    this.#endings = endings;
    this.#holder = holder;
  }

  get inHand(): number {
    return this.#claims.size;
  }

  start(): void {
    const { bus, log } = this.#parts;
    bus.listen(this.#holder, (msg) => void msg.respond(this.#claims.has(msg.string()) ? "yes" : "no"));
    const onError = (error: unknown) => log.error({ err: error }, "queues");
    this.#loops.push(
      startLoop({ name: "queues", everyMs: 500, onError }, () => this.#keep()),
      startLoop({ name: "jobs in hand", everyMs: ACK_WAIT_MS / 4, onError }, () => this.#stillWorking()),
    );
  }

  /** Takes nothing more; what is in hand goes to other routers, who go on with it where it is. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#loops.map((loop) => loop.stop()));
    await Promise.all([...this.#sessions.values()].map(({ messages }) => messages.close()));
    for (const { timer } of this.#batches.values()) clearTimeout(timer);
    const left = [...this.#claims.values()];
    // From here on nobody is told that this router still has them.
    this.#claims.clear();
    for (const { gone, msg } of left) {
      gone.resolve();
      msg.nak();
    }
  }

  /** A session for each queue of the policy, and each consumer as the policy has it now. */
  async #keep(): Promise<void> {
    const queues = this.#parts.policy().routing.task_queues;
    try {
      for (const [queue, policy] of Object.entries(queues)) {
        if (this.#sessions.get(queue)?.cap !== policy.max_concurrency) await this.#open(queue, policy);
      }
      this.#warned = false;
    } catch (error) {
      if (!this.#warned) this.#parts.log.warn({ err: error }, "this bus keeps no durable jobs now; trying again");
      this.#warned = true;
    }
    for (const [queue, { messages }] of this.#sessions) {
      if (Object.hasOwn(queues, queue)) continue;
      this.#sessions.delete(queue);
      await messages.close();
    }
  }

  async #open(queue: string, { max_concurrency: cap }: QueuePolicy): Promise<void> {
    const { bus } = this.#parts;
    this.#manager ??= await jetstreamManager(bus.nc, { checkAPI: false });
    const { consumers } = this.#manager;
    const stream = bus.subjects.jobStreams.work;
    const found = await consumers.info(stream, queue).catch((error: unknown) => {
      if (error instanceof JetStreamApiError) return undefined;
      throw error;
    });
    const config = {
      durable_name: queue,
      description: "tiermesh: a task queue; max_ack_pending is its max_concurrency",
      ack_policy: AckPolicy.Explicit,
      ack_wait: ACK_WAIT_MS * 1_000_000,
      max_ack_pending: cap,
      filter_subject: bus.subjects.works(queue),
    };
    const info =
      found === undefined
        ? await consumers.add(stream, config)
        : found.config.max_ack_pending === cap && found.config.ack_wait === config.ack_wait
          ? found
          : await consumers.update(stream, queue, { ack_wait: config.ack_wait, max_ack_pending: cap });
    const session = this.#sessions.get(queue);
    if (session !== undefined) {
      session.cap = cap;
      return;
    }
    const messages = await jetstream(bus.nc)
      .consumers.getConsumerFromInfo(info)
      .consume({
        max_messages: MAX_ASKED,
        expires: 10_000,
        idle_heartbeat: 2500,
        callback: (msg) => void this.#take(queue, msg),
      });
    this.#sessions.set(queue, { messages, cap });
    void this.#follow(queue, messages);
  }

  /** A consumer or a stream that is gone is made anew. */
  async #follow(queue: string, messages: ConsumerMessages): Promise<void> {
    for await (const { type } of messages.status()) {
      if (type !== "consumer_deleted" && type !== "consumer_not_found" && type !== "stream_not_found") continue;
      if (this.#sessions.get(queue)?.messages === messages) this.#sessions.delete(queue);
      await messages.close();
    }
  }

  #stillWorking(): void {
    for (const { msg } of this.#claims.values()) msg.working();
  }

  async #take(queue: string, msg: JsMsg): Promise<void> {
    const jobId = lastToken(msg.subject);
    const mine = this.#claims.get(jobId);
    // The broker was away for a while, or thought that we were.
    if (mine !== undefined) return void (mine.msg = msg);
    if (this.#stop.signal.aborted) return msg.nak();
    if (this.#reading.has(jobId)) return;
    this.#reading.add(jobId);
    try {
      const claim = await this.#claim(queue, jobId, msg);
      if (claim === undefined) return;
      if (this.#stop.signal.aborted) return msg.nak();
      this.#claims.set(jobId, claim);
      this.#gather(claim);
    } catch (error) {
      this.#parts.log.warn(
        { err: error, job: jobId },
        "a durable job could not be taken; the broker gives it out again",
      );
    } finally {
      this.#reading.delete(jobId);
    }
  }

  /** @returns undefined when there is nothing to do for it, or somebody else does */
  async #claim(queue: string, jobId: string, msg: JsMsg): Promise<Claim | undefined> {
    const { store } = this.#parts;
    let job: Claim["job"];
    let held: Held | undefined;
    try {
      const work = readWork(msg);
      job = work.job;
      held = await store.read(jobId);
      if (held === undefined || held.record.queue !== queue)
        throw new MeshError("not_found", "no durable job of that id is known in this queue");
      if (work.round > held.record.round)
        throw new MeshError("bad_request", "Mesh-Round: the job was never put in the queue so often");
      if (hasEnded(held.record)) await this.#runner.finish({ held, msg });
      else if (work.round < held.record.round) await this.#stale(held, msg);
      else if (!(await this.#heldByAnother(held))) return newClaim(queue, msg, job, held);
      return undefined;
    } catch (cause) {
      const error = MeshError.from(cause);
      if (error.retryable || error.code === "internal") throw cause;
      await this.#endings.fileGarbage(queue, `stray-${msg.seq}`, msg, error);
      msg.ack();
      return undefined;
    }
  }

  /** Whoever put the job at the tail may have died before its new message was there. */
  async #stale(held: Held, msg: JsMsg): Promise<void> {
    if (held.record.state === "queued") await this.#runner.requeue({ held, msg });
    else msg.ack();
  }

  /** A broker that was away gives out again what routers still work on. */
  async #heldByAnother({ record }: Held): Promise<boolean> {
    if (record.state !== "running" || record.holder === null || record.holder === this.#holder) return false;
    const { nc } = this.#parts.bus;
    const answer = await nc.request(record.holder, record.job_id, { timeout: HOLDER_LIMIT_MS }).catch(() => undefined);
    return answer?.string() === "yes";
  }

  /** Waits a moment for others of its kind, where the policy says so: jobs for one model then go out one after the other. */
  #gather(claim: Claim): void {
    const { queue } = claim;
    const { task_queues: queues } = this.#parts.policy().routing;
    const { batch_window_ms: windowMs, max_concurrency: cap } = queues[queue] ?? { max_concurrency: 1 };
    const patient = windowMs !== undefined && claim.held.record.deadline_unix_ms - Date.now() > 2 * windowMs;
    if (!patient || claim.held.record.state === "running") return this.#go(claim);
    let batch = this.#batches.get(queue);
    if (batch === undefined) {
      batch = { claims: [], timer: setTimeout(() => this.#flush(queue), windowMs) };
      this.#batches.set(queue, batch);
    }
    batch.claims.push(claim);
    // No more will come to this router than its part of what may run at all.
    const part = Math.ceil(cap / Math.max(1, this.#parts.fleet.fleet.liveRouters));
    const inHand = [...this.#claims.values()].filter((each) => each.queue === queue).length;
    if (inHand >= part) this.#flush(queue);
  }

  #flush(queue: string): void {
    const batch = this.#batches.get(queue);
    if (batch === undefined) return;
    this.#batches.delete(queue);
    clearTimeout(batch.timer);
    const model = ({ job }: Claim) => job.model ?? "";
    batch.claims.sort((a, b) => (model(a) < model(b) ? -1 : model(a) > model(b) ? 1 : a.msg.seq - b.msg.seq));
    for (const claim of batch.claims) this.#go(claim);
  }

  #go(claim: Claim): void {
    void this.#runner.run(claim, this.#stop.signal).finally(() => {
      if (this.#claims.get(claim.jobId) === claim) this.#claims.delete(claim.jobId);
    });
  }
}

function newClaim(queue: string, msg: JsMsg, job: Claim["job"], held: Held): Claim {
  const gone = Promise.withResolvers<void>();
  const { deliveryCount } = msg.info;
  // It never gets as far as to run, however often it is given out.
  const doomed = held.record.state === "queued" && deliveryCount > MAX_DELIVERIES;
  const poison = doomed ? new MeshError("internal", `given out ${deliveryCount} times, it never ran`) : undefined;
  return { queue, jobId: held.record.job_id, msg, job, held, poison, exclude: new Set(), gone };
}
