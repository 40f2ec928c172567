import { isDeepStrictEqual } from "node:util";
import {
  DiscardPolicy,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type JetStreamManager,
  type StreamConfig,
} from "@nats-io/jetstream";
import type { Bus } from "./bus.ts";
import { isApiError } from "./kv.ts";

/** How long JetStream recognises a repeated `Nats-Msg-Id`, nanoseconds: longer than any retry of ours. */
const DUPLICATE_WINDOW_NS = 120 * 1_000_000_000;
const DAY_NS = 24 * 3600 * 1_000_000_000;
const GIB = 1024 ** 3;
/** nats-server has no storage for what a stream may grow to (errors.json: JSStorageResourcesExceeded, JSInsufficientResources, in a cluster JSClusterNoPeers). */
const NO_ROOM = [10_047, 10_023, 10_005];

/**
 * Makes sure that the AUDIT stream takes every event of this cell; an existing one is brought to these settings, which on a
 * bus with permissions only its keeper may do.
 * Its replicas stay as they are; the keeper of a cluster raises them (cli/bus/replicas.ts).
 * Events stay for 30 days; at 8 GiB no more are taken until old ones go.
 */
export async function ensureAuditStream(bus: Bus): Promise<JetStreamManager> {
  const manager = await jetstreamManager(bus.nc, { checkAPI: false });
  await ensureStream(manager, {
    name: bus.subjects.auditStream,
    subjects: [bus.subjects.events],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    max_age: 30 * DAY_NS,
    max_bytes: 8 * GIB,
    // A full stream refuses; producers keep what they have to say, and nothing that needs a record runs.
    discard: DiscardPolicy.New,
    // Nobody takes a record out again, whatever he may.
    deny_delete: true,
    deny_purge: true,
    duplicate_window: DUPLICATE_WINDOW_NS,
  });
  return manager;
}

/**
 * Makes sure of the streams of durable jobs (ADR 0019), as `ensureAuditStream` does of its own. A queue that is full refuses
 * new jobs; results and dead letters that are too many or too old make room.
 * A server sets the space aside, so there is not much of it. States and results end by themselves, by
 * the time to live that each message has.
 */
export async function ensureJobStreams(bus: Bus): Promise<void> {
  const { subjects } = bus;
  const { work, states, results, letters } = subjects.jobStreams;
  const manager = await jetstreamManager(bus.nc, { checkAPI: false });
  const common = { storage: StorageType.File, duplicate_window: DUPLICATE_WINDOW_NS };
  const limits = { ...common, retention: RetentionPolicy.Limits };
  const all: StreamSettings[] = [
    {
      ...common,
      name: work,
      subjects: [subjects.allWork],
      retention: RetentionPolicy.Workqueue,
      discard: DiscardPolicy.New,
      max_bytes: GIB,
    },
    {
      ...limits,
      name: states,
      subjects: [subjects.jobStates],
      discard: DiscardPolicy.New,
      max_msgs_per_subject: 1,
      allow_msg_ttl: true,
    },
    { ...limits, name: results, subjects: [subjects.jobResults], max_bytes: GIB, allow_msg_ttl: true },
    {
      ...limits,
      name: letters,
      subjects: [subjects.letters],
      max_msgs_per_subject: 1,
      max_age: 30 * DAY_NS,
      max_bytes: GIB / 4,
    },
  ];
  for (const settings of all) await ensureStream(manager, settings);
}

/**
 * Makes sure of the stream of the agents' releases (ADR 0030), as `ensureAuditStream` does of its own. It holds a few: what does not fit is
 * refused, and an operator takes old ones away. A bus on a small disk does without: its other streams come first. Nobody reads it but by `STREAM.MSG.GET`: that tells what it finds in JSON, and not as it is.
 */
export async function ensureReleaseStream(bus: Bus, say: (line: string) => void): Promise<void> {
  const { allReleaseChunks, releases, releaseStream, upgradeLock } = bus.subjects;
  const settings: StreamSettings = {
    name: releaseStream,
    subjects: [releases, allReleaseChunks, upgradeLock],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    max_msgs_per_subject: 1,
    max_bytes: 2 * GIB,
    discard: DiscardPolicy.New,
    allow_direct: false,
    duplicate_window: DUPLICATE_WINDOW_NS,
  };
  try {
    await ensureStream(await jetstreamManager(bus.nc, { checkAPI: false }), settings);
  } catch (error) {
    if (!NO_ROOM.some((code) => isApiError(error, code))) throw error;
    say("there is no room for releases of the agent (2 GiB); `tiermesh upgrade` cannot be used");
  }
}

type StreamSettings = Partial<StreamConfig> & { name: string };

async function ensureStream(manager: JetStreamManager, config: StreamSettings): Promise<void> {
  const existing = await manager.streams.info(config.name).catch(() => undefined);
  if (existing === undefined) {
    await manager.streams.add({ ...config, num_replicas: 1 });
    return;
  }
  const now: Partial<Record<string, unknown>> = { ...existing.config };
  const fits = Object.entries(config).every(([key, value]) => isDeepStrictEqual(now[key], value));
  if (!fits) await manager.streams.update(config.name, { ...config, num_replicas: existing.config.num_replicas });
}
