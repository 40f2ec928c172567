import type { Msg } from "@nats-io/nats-core";
import {
  DATA_CLASSES,
  HEADERS,
  JobResult,
  type MeshError,
  type Load,
  type NodeRecordInput,
  type Outcome,
} from "../../bus-schemas/index.ts";
import { connectBus, type Bus, type BusAddress } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { startLoop } from "../../service/loop.ts";
import { header, headersFor } from "../../service/messages.ts";
import { nodeRecord } from "./router-parts.ts";

const LOAD: Load = { slots: 500, running: 0, queued: 0, queue_limit: 500, pending_prefill_tokens: 0 };

/** A job as a scripted agent has it: every word of it is said by the script. */
export interface ScriptedJob {
  msg: Msg;
  id: string;
  accept(): void;
  refuse(error: MeshError): void;
  /** A numbered frame to the caller. */
  frame(frame: Record<string, unknown>): void;
  /** The one answer to the caller, then the verdict `ended`. */
  end(content: string, status?: Outcome): void;
}

/** An agent that speaks the protocol as its script says; it has a connection of its own and a heartbeat. */
export class ScriptedAgent implements AsyncDisposable {
  readonly jobs: ScriptedJob[] = [];
  readonly bus: Bus;
  readonly nodeId: string;
  readonly #stop = new AbortController();
  readonly #record: Partial<NodeRecordInput>;
  #seq = 0;

  constructor(bus: Bus, nodeId: string, record: Partial<NodeRecordInput>) {
    this.bus = bus;
    this.nodeId = nodeId;
    this.#record = record;
  }

  /** @param listening false: heartbeats, but nobody takes its jobs. */
  static async start(
    address: BusAddress,
    nodeId: string,
    model: string,
    script: (job: ScriptedJob) => void,
    { listening = true, ...record }: Partial<NodeRecordInput> & { listening?: boolean } = {},
  ): Promise<ScriptedAgent> {
    const log = createLog("agent", "silent");
    const served = { models: [model], served_models: [{ name: model, runtime: "ollama", loaded: true }] };
    const agent = new ScriptedAgent(await connectBus(nodeId, address, log), nodeId, {
      ...served,
      load: LOAD,
      ...record,
    });
    const { bus } = agent;
    for (const dataClass of listening ? DATA_CLASSES : [])
      bus.listen(bus.subjects.runs(dataClass, nodeId), (msg) => {
        const job = agent.#job(msg);
        agent.jobs.push(job);
        script(job);
      });
    await bus.nc.flush();
    startLoop(
      { name: "heartbeat", everyMs: 1000, onError: (error) => log.warn(error) },
      () => agent.beat(),
      agent.#stop.signal,
    );
    return agent;
  }

  beat(overrides: Partial<NodeRecordInput> = {}): void {
    const record = nodeRecord(this.nodeId, { ...this.#record, seq: this.#seq++, ...overrides });
    this.bus.nc.publish(this.bus.subjects.heartbeat(record.layer, this.nodeId), JSON.stringify(record));
  }

  /** As kill -9: no last word, the connection is gone. */
  async kill(): Promise<void> {
    this.#stop.abort();
    await this.bus.nc.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    if (this.bus.nc.isClosed()) return;
    this.beat({ status: "leaving" });
    await this.bus.drain();
  }

  #job(msg: Msg): ScriptedJob {
    const id = header(msg, HEADERS.job) ?? "";
    const inbox = header(msg, HEADERS.reply) ?? "";
    const { nc } = this.bus;
    let seq = 0;
    const verdict = (rest: Record<string, unknown>) =>
      nc.publish(msg.reply ?? "", JSON.stringify({ job_id: id, node_id: this.nodeId, load: LOAD, ...rest }));
    const frame = (body: Record<string, unknown>) => {
      const headers = headersFor("json");
      headers.set(HEADERS.seq, String(seq++));
      nc.publish(inbox, JSON.stringify(body), { headers });
    };
    return {
      msg,
      id,
      accept: () => verdict({ type: "accepted" }),
      refuse: (error) => verdict({ type: "refused", error: error.toWire() }),
      frame,
      end: (content, status = "finished") => {
        const message = { role: "assistant", content };
        frame(JobResult.parse({ job_id: id, status, node_id: this.nodeId, message }));
        verdict({ type: "ended", status, timing: { queued_ms: 0, ttft_ms: 1, total_ms: 2 } });
      },
    };
  }
}
