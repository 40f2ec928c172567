import { hostname } from "node:os";
import { jetstream, jetstreamManager, type JetStreamManager, type StoredMsg } from "@nats-io/jetstream";
import { MeshError, UpgradeLock } from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import { KV_ANSWER_LIMIT_MS, KV_ERR, isApiError, readKv } from "../../service/kv.ts";

/** It counts for so long without being said again, milliseconds: a command that was killed blocks nobody for longer. */
const HOLDS_MS = 90_000;
const SAY_AGAIN_MS = 20_000;

export interface HeldLock {
  /** Why it is ours no more; undefined while it is. */
  lost(): string | undefined;
  release(): Promise<void>;
}

/**
 * Takes the fleet's upgrade for ourselves: one value on the bus, written by compare-and-set, that has to be said again.
 * @throws MeshError `conflict` saying who upgrades the fleet now, and until when that counts
 */
export async function takeUpgradeLock(
  bus: Bus,
  { by, id, version }: { by: string; id: string; version: string },
  nowMs: () => number = Date.now,
): Promise<HeldLock> {
  const manager = await jetstreamManager(bus.nc, { timeout: KV_ANSWER_LIMIT_MS, checkAPI: false });
  const ours = (holdsMs: number): UpgradeLock => ({
    v: 1,
    id,
    by,
    host: hostname().slice(0, 200) || "?",
    version,
    until_unix_ms: nowMs() + holdsMs,
  });
  let { lock, revision } = await readLock(bus, manager);
  if (lock !== undefined && lock.id !== id && lock.until_unix_ms > nowMs()) throw held(lock);
  const write = async (holdsMs: number) => {
    const js = jetstream(bus.nc, { timeout: KV_ANSWER_LIMIT_MS });
    const expect = { lastSubjectSequence: revision };
    revision = (await js.publish(bus.subjects.upgradeLock, JSON.stringify(ours(holdsMs)), { expect })).seq;
  };
  try {
    await write(HOLDS_MS);
  } catch (error) {
    if (!isApiError(error, KV_ERR.wrongLastSequence)) throw error;
    ({ lock } = await readLock(bus, manager));
    throw lock === undefined ? new MeshError("conflict", "somebody else has just begun an upgrade") : held(lock);
  }
  let lost: string | undefined;
  let saidMs = nowMs();
  const timer = setInterval(() => {
    write(HOLDS_MS).then(
      () => (saidMs = nowMs()),
      (error: unknown) => {
        if (isApiError(error, KV_ERR.wrongLastSequence)) lost = "somebody else has taken the upgrade over";
        // A bus that is away for a moment is tried again; after that others may have begun.
        else if (nowMs() - saidMs > HOLDS_MS) lost = "the bus was away for too long";
      },
    );
  }, SAY_AGAIN_MS);
  return {
    lost: () => lost,
    release: async () => {
      clearInterval(timer);
      if (lost === undefined) await write(0).catch(() => undefined);
    },
  };
}

async function readLock(
  bus: Bus,
  manager: JetStreamManager,
): Promise<{ lock: UpgradeLock | undefined; revision: number }> {
  const message = await readKv(manager, bus.subjects.releaseStream, { last_by_subj: bus.subjects.upgradeLock });
  return { lock: message === undefined ? undefined : parse(message), revision: message?.seq ?? 0 };
}

function parse(message: StoredMsg): UpgradeLock | undefined {
  try {
    return UpgradeLock.parse(message.json());
  } catch {
    return undefined;
  }
}

function held({ by, host, until_unix_ms: until, version }: UpgradeLock): MeshError {
  return new MeshError(
    "conflict",
    `${by} on ${host} upgrades the fleet to ${version} now; unless that run goes on it ends by itself at ${new Date(until).toISOString()}`,
  );
}
