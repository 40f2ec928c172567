import { isDeepStrictEqual } from "node:util";
import { jetstreamManager, RetentionPolicy, StorageType, type JetStreamManager } from "@nats-io/jetstream";
import type { Bus } from "./bus.ts";

/** How long JetStream recognises a repeated `Nats-Msg-Id`, nanoseconds: longer than any retry of ours. */
const DUPLICATE_WINDOW_NS = 120 * 1_000_000_000;

/**
 * Makes sure that the AUDIT stream takes every event of this cell; an existing one is brought to these settings, which on a
 * bus with permissions only its keeper may do.
 * Its replicas stay as they are; the keeper of a cluster raises them (cli/bus/replicas.ts).
 * Events stay until the auditor's log has them and the limits below pass: 30 days or 8 GiB.
 */
export async function ensureAuditStream(bus: Bus): Promise<JetStreamManager> {
  const manager = await jetstreamManager(bus.nc, { checkAPI: false });
  const config = {
    name: bus.subjects.auditStream,
    subjects: [bus.subjects.events],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    max_age: 30 * 24 * 3600 * 1_000_000_000,
    max_bytes: 8 * 1024 ** 3,
    duplicate_window: DUPLICATE_WINDOW_NS,
  };
  const existing = await manager.streams.info(bus.subjects.auditStream).catch(() => undefined);
  if (existing === undefined) {
    await manager.streams.add({ ...config, num_replicas: 1 });
    return manager;
  }
  const now: Partial<Record<string, unknown>> = { ...existing.config };
  const fits = Object.entries(config).every(([key, value]) => isDeepStrictEqual(now[key], value));
  if (!fits)
    await manager.streams.update(bus.subjects.auditStream, {
      ...config,
      num_replicas: existing.config.num_replicas,
    });
  return manager;
}
