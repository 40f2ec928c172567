import { jetstreamManager } from "@nats-io/jetstream";
import { SleepEntry } from "../bus-schemas/index.ts";
import type { Bus } from "./bus.ts";
import { KvTable } from "./kv-table.ts";
import { KV_ANSWER_LIMIT_MS, ensureKv } from "./kv.ts";

/** A machine of which nothing changed for so long is forgotten, milliseconds; routers and clients forget it then, too. */
export const KEEP_ASLEEP_MS = 14 * 86_400_000;

/** Machines that sleep, and how they were woken: a JetStream KV bucket with one key a node (bus-schemas/wake.ts). */
export type SleepBucket = KvTable<SleepEntry>;

/** Makes no bucket: the broker's keeper does. @throws what the bus says */
export function openSleepBucket(bus: Bus): Promise<SleepBucket> {
  return KvTable.open(bus, bus.subjects.sleepBucket, SleepEntry);
}

/** Makes the bucket when there is none. @throws what the bus says */
export async function makeSleepBucket(bus: Bus): Promise<void> {
  const manager = await jetstreamManager(bus.nc, { timeout: KV_ANSWER_LIMIT_MS, checkAPI: false });
  const description = "Tiermesh nodes that sleep; see tiermesh node wake --help";
  await ensureKv(manager, bus.subjects.sleepBucket, { description, history: 1, maxAgeMs: KEEP_ASLEEP_MS });
}
