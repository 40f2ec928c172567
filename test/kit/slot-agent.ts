import type { Msg } from "@nats-io/nats-core";
import { DATA_CLASSES, HEADERS, JobResult, MeshError, type Load } from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import { header, headersFor } from "../../service/messages.ts";
import { nodeRecord } from "./router-parts.ts";

/** Between heartbeats, milliseconds. */
const BEAT_EVERY_MS = 500;

export interface SlotOptions {
  nodeId: string;
  model: string;
  slots: number;
  /** Waiting places of the node itself. */
  queueLimit?: number;
  /** How long a job takes, milliseconds. */
  serviceMs: () => number;
  /** Told how many jobs of each queue the node works on, at each change of a job of it: +1 begins, −1 ended. */
  onChange?: (queue: string, change: 1 | -1) => void;
}

/** A node with so many slots, each of which works on a job for its time; what is more than slots and places is refused. */
export class SlotAgent implements AsyncDisposable {
  readonly bus: Bus;
  readonly #options: SlotOptions;
  readonly #waiting: (() => void)[] = [];
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #beat: NodeJS.Timeout;
  refused = 0;
  #running = 0;
  #seq = 0;

  constructor(bus: Bus, options: SlotOptions) {
    this.bus = bus;
    this.#options = options;
    for (const dataClass of DATA_CLASSES)
      bus.listen(bus.subjects.runs(dataClass, options.nodeId), (msg) => this.#onRun(msg));
    this.beat();
    this.#beat = setInterval(() => this.beat(), BEAT_EVERY_MS);
  }

  beat(status: "healthy" | "leaving" = "healthy"): void {
    const { nodeId, model } = this.#options;
    const served = [{ name: model, runtime: "ollama", loaded: true }];
    const record = nodeRecord(nodeId, {
      models: [model],
      served_models: served,
      load: this.#load(),
      seq: this.#seq++,
      status,
    });
    if (!this.bus.nc.isClosed())
      this.bus.nc.publish(this.bus.subjects.heartbeat(record.layer, nodeId), JSON.stringify(record));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#beat);
    for (const timer of this.#timers) clearTimeout(timer);
    this.beat("leaving");
    await this.bus.drain();
  }

  #load(): Load {
    const { slots, queueLimit = 0 } = this.#options;
    const queued = this.#waiting.length;
    return { slots, running: this.#running, queued, queue_limit: queueLimit, pending_prefill_tokens: 0 };
  }

  #onRun(msg: Msg): void {
    const { nodeId, model, slots, queueLimit = 0, serviceMs, onChange } = this.#options;
    const id = header(msg, HEADERS.job) ?? "";
    const queue = header(msg, HEADERS.queue) ?? "";
    const tell = (rest: Record<string, unknown>) => {
      const verdict = { job_id: id, node_id: nodeId, queue, load: this.#load(), ...rest };
      if (!this.bus.nc.isClosed()) this.bus.nc.publish(msg.reply ?? "", JSON.stringify(verdict));
    };
    if (this.#running + this.#waiting.length >= slots + queueLimit) {
      this.refused++;
      return tell({ type: "refused", error: new MeshError("all_busy", "every place is taken").toWire() });
    }
    onChange?.(queue, 1);
    const end = () => {
      this.#running--;
      this.#waiting.shift()?.();
      onChange?.(queue, -1);
      if (this.bus.nc.isClosed()) return;
      const result = JobResult.parse({
        job_id: id,
        status: "finished",
        node_id: nodeId,
        model,
        message: { role: "assistant", content: "done" },
      });
      const headers = headersFor("json");
      headers.set(HEADERS.seq, "0");
      this.bus.nc.publish(header(msg, HEADERS.reply) ?? "", JSON.stringify(result), { headers });
      tell({ type: "ended", status: "finished", timing: { queued_ms: 0, ttft_ms: 1, total_ms: 2 } });
    };
    const begin = () => {
      this.#running++;
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        end();
      }, serviceMs());
      this.#timers.add(timer);
    };
    if (this.#running < slots) begin();
    else this.#waiting.push(begin);
    tell({ type: "accepted" });
  }
}
