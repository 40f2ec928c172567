import type { Msg } from "@nats-io/nats-core";
import { HEADERS, type Load, type NodeRecord } from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import { encode } from "../../service/codec.ts";
import { header, headersFor } from "../../service/messages.ts";
import { MODELS, busyNode, jobEnd } from "./samples.ts";

/** More slots than a bench has jobs: no router ever finds the node full. */
const SLOTS = 100_000;
const LOAD: Load = { slots: SLOTS, running: 0, queued: 0, queue_limit: SLOTS, pending_prefill_tokens: 0 };
const BEAT_EVERY_MS = 500;

/** Nodes that accept each job, answer it and end it at once: three small messages for each, as an agent sends them. */
export function startAgents(bus: Bus, count: number): { [Symbol.dispose](): void } {
  const headers = headersFor("shared");
  const end = encodeOnce(jobEnd("01K9ZQ6V3M8N5T2R7W4X1Y0ABC", "node-0"));
  const answer = (msg: Msg, nodeId: string) => {
    const reply = msg.reply ?? "";
    const common = { job_id: header(msg, HEADERS.job) ?? "", node_id: nodeId, load: LOAD };
    bus.nc.publish(reply, encode({ type: "accepted", ...common }, "shared"), { headers });
    bus.nc.publish(header(msg, HEADERS.reply) ?? "", end, { headers });
    const timing = { queued_ms: 0, ttft_ms: 1, total_ms: 2 };
    bus.nc.publish(reply, encode({ type: "ended", ...common, status: "finished", timing }, "shared"), { headers });
  };
  let seq = 0;
  const records = Array.from({ length: count }, (_, i) => idle(`node-${i}`));
  const beat = () => {
    if (bus.nc.isClosed()) return;
    seq++;
    for (const record of records)
      bus.nc.publish(bus.subjects.heartbeat(record.layer, record.node_id), encode({ ...record, seq }, "shared"), {
        headers,
      });
  };
  for (const { node_id: nodeId } of records)
    for (const dataClass of ["P1", "P2"] as const)
      bus.listen(bus.subjects.runs(dataClass, nodeId), (msg) => answer(msg, nodeId));
  beat();
  const timer = setInterval(beat, BEAT_EVERY_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function idle(nodeId: string): NodeRecord {
  const record = busyNode(nodeId);
  return { ...record, served_models: record.served_models.filter(({ name }) => name === MODELS[0]), load: LOAD };
}

function encodeOnce(value: unknown): Uint8Array {
  return Uint8Array.from(encode(value, "shared"));
}
