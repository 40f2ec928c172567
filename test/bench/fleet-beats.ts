import type { NodeRecord } from "../../bus-schemas/index.ts";
import { seeded } from "../kit/routing.ts";
import { busyNode, fleetNode } from "./samples.ts";

export const FLEET_SIZE = 1000;
/** One node in so many is a server with two GPUs and six models; the others serve one or two. */
const SERVER_EVERY = 20;

/** The first heartbeats of a fleet, with every key as agents send them. */
export function beatsOf(): NodeRecord[] {
  const random = seeded(6);
  return Array.from({ length: FLEET_SIZE }, (_, i) => {
    const record = i % SERVER_EVERY === 0 ? busyNode(`node-${i}`) : fleetNode(i, random);
    const boot_id = `01K9ZQ6V3M8N5T2R7W4X1${String(i).padStart(5, "0")}`;
    const sampled_at = { ...record.hardware.sampled_at, cpu: moment(i), memory: moment(i), gpus: moment(i) };
    return { ...record, boot_id, hardware: { ...record.hardware, sampled_at } };
  });
}

/** The same node's next heartbeat: what moves has moved. */
export function nextBeat(record: NodeRecord): NodeRecord {
  const seq = record.seq + 1;
  const { hardware } = record;
  const cpu_utilization = ((seq * 7919) % 100) / 100;
  const sampled_at = { ...hardware.sampled_at, cpu: moment(seq), gpus: moment(seq) };
  return { ...record, seq, hardware: { ...hardware, cpu_utilization, sampled_at }, last_heartbeat: moment(seq) };
}

function moment(i: number): string {
  return new Date(1_800_000_000_000 + i * 1001).toISOString();
}
