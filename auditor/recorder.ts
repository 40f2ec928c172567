/**
 * Takes the stream AUDIT into the log on disk.
 * 1. The log is the truth: the durable consumer is set to what the log has, never the other way round.
 * 2. An event is acknowledged only after its line was fsynced and a checkpoint of the signed tree covers it; one fsync,
 *    and one checkpoint, serve all events that waited for it.
 * 3. Events enter in the stream's order. A hole in the consumer's delivery numbers (messages lost with a connection)
 *    ends the session, and the next one starts behind the log's last entry. So nothing is missed, nothing enters twice.
 * 4. An event that the stream has twice, because its sender did not learn that it was stored (ADR 0008), enters once.
 */
import {
  AckPolicy,
  DeliverPolicy,
  ReplayPolicy,
  jetstream,
  type ConsumerInfo,
  type JetStreamManager,
  type JsMsg,
} from "@nats-io/jetstream";
import type { LogEntry } from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import { ensureAuditStream } from "../service/streams.ts";
import type { AuditTree } from "./audit-tree.ts";
import { toEntry } from "./entry.ts";
import type { SegmentLog } from "./segment-log.ts";
import { eventKey } from "./segment.ts";

/** Name of the durable consumer: `nats consumer info AUDIT auditor` shows how far the auditor is. */
export const CONSUMER = "auditor";
/** Events that may wait for their fsync; the stream holds back more. */
const MAX_UNACKED = 4096;
/** Most events in one write and fsync. */
const BATCH = 1024;
/** Longer than any fsync; what is not acknowledged by then is sent again, which ends the session. Nanoseconds. */
const ACK_WAIT_NS = 60 * 1_000_000_000;
/** A checkpoint is signed when so many entries wait for it, or this long after the first of them came, milliseconds. */
const CHECKPOINT_ENTRIES = 1000;
const CHECKPOINT_MS = 1000;

/** Where the entries go. */
export interface Record {
  log: SegmentLog;
  tree: AuditTree;
}

export interface RecorderHooks {
  /** Entries that are durable now. */
  onStored(entries: readonly LogEntry[], seconds: number, pending: number): void;
  /** The session is up: everything behind the log's end will come. */
  onReady(pending: number): void;
}

/** A session that must be started anew; its message says why. */
export class SessionEnded extends Error {}

/** Runs one session until `signal` aborts (then it returns, with all that it took stored) or something breaks (throws). */
export async function recordSession(
  bus: Bus,
  { log, tree }: Record,
  hooks: RecorderHooks,
  signal: AbortSignal,
): Promise<void> {
  const manager = await ensureAuditStream(bus);
  const stream = bus.subjects.auditStream;
  await alignStream(manager, stream, log);
  const consumer = await alignConsumer(manager, stream, log);
  let expectedDelivery = consumer.delivered.consumer_seq + 1;
  hooks.onReady(consumer.num_pending);

  const waiting: JsMsg[] = [];
  let ended: Error | undefined;
  let wake = () => {};
  const end = (why: Error) => {
    ended ??= why;
    wake();
  };
  const stop = () => wake();
  const cover = new Cover(tree, stop);
  signal.addEventListener("abort", stop, { once: true });

  const messages = await (
    await jetstream(bus.nc).consumers.get(stream, CONSUMER)
  ).consume({
    max_messages: BATCH,
    expires: 30_000,
    idle_heartbeat: 5000,
    callback: (msg) => {
      if (ended !== undefined) return;
      if (msg.info.deliverySequence !== expectedDelivery) return end(new SessionEnded("events were lost on the way"));
      expectedDelivery++;
      waiting.push(msg);
      wake();
    },
  });
  void (async () => {
    for await (const status of messages.status()) {
      if (
        status.type === "consumer_deleted" ||
        status.type === "consumer_not_found" ||
        status.type === "stream_not_found"
      ) {
        end(new SessionEnded(status.type));
      }
    }
  })().catch(end);

  try {
    while (ended === undefined && !(signal.aborted && waiting.length === 0)) {
      if (cover.due) await cover.now();
      else if (waiting.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      else cover.add(await store(waiting.splice(0, BATCH), log, hooks));
      if (signal.aborted) await messages.close();
    }
    if (ended === undefined) await cover.now();
  } finally {
    cover.stop();
    signal.removeEventListener("abort", stop);
    await messages.close();
  }
  if (ended !== undefined) throw ended;
}

/** Puts stored entries into the tree, and acknowledges their messages when a checkpoint covers them. */
class Cover {
  readonly #tree: AuditTree;
  readonly #wake: () => void;
  #newest: JsMsg | undefined;
  #timer: NodeJS.Timeout | undefined;
  #late: boolean;

  /** @param wake called when a checkpoint has become due with time. */
  constructor(tree: AuditTree, wake: () => void) {
    this.#tree = tree;
    this.#wake = wake;
    // A session that broke may have left some; their messages are not sent again, because the log has them.
    this.#late = tree.waiting > 0;
  }

  get due(): boolean {
    return this.#late || this.#tree.waiting >= CHECKPOINT_ENTRIES;
  }

  add({ entries, newest }: { entries: readonly LogEntry[]; newest: JsMsg | undefined }): void {
    this.#tree.add(entries);
    this.#newest = newest ?? this.#newest;
    this.#timer ??= setTimeout(() => {
      this.#late = true;
      this.#wake();
    }, CHECKPOINT_MS);
  }

  async now(): Promise<void> {
    this.stop();
    await this.#tree.cover();
    this.#late = false;
    // The consumer acknowledges in order (AckPolicy.All): the last one stands for all before it.
    this.#newest?.ack();
    this.#newest = undefined;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

async function store(batch: readonly JsMsg[], log: SegmentLog, hooks: RecorderHooks) {
  const startMs = performance.now();
  const entries: LogEntry[] = [];
  const keys = new Set<string>();
  for (const msg of batch) {
    if (msg.seq <= log.streamSequence) continue;
    const header = (name: string) => msg.headers?.get(name) ?? "";
    const stored = { subject: msg.subject, streamSequence: msg.seq, data: msg.data, header };
    const entry = toEntry(stored, log.sequence + 1 + entries.length);
    if ("id" in entry) {
      const key = eventKey(entry);
      if (keys.has(key) || log.index.has(key)) continue;
      keys.add(key);
    }
    entries.push(entry);
  }
  if (entries.length > 0) await log.append(entries);
  const newest = batch.at(-1);
  hooks.onStored(entries, (performance.now() - startMs) / 1000, newest?.info.pending ?? 0);
  return { entries, newest };
}

/** Begins a new segment when the stream is not the one that the log was written from, or lost its newest events. */
async function alignStream(manager: JetStreamManager, stream: string, log: SegmentLog): Promise<void> {
  const { created, state } = await manager.streams.info(stream);
  if (created !== log.streamCreated) await log.startStream(created, 0);
  // A stream that was set back (restored, or a power cut) gives numbers a second time: what it still has is here already.
  else if (state.last_seq < log.streamSequence) await log.startStream(created, state.last_seq);
}

/** The durable consumer, delivering from behind the log's last entry on. */
async function alignConsumer(manager: JetStreamManager, stream: string, log: SegmentLog): Promise<ConsumerInfo> {
  const info = await manager.consumers.info(stream, CONSUMER).catch(() => undefined);
  const fits =
    info !== undefined &&
    info.num_ack_pending === 0 &&
    info.delivered.stream_seq <= log.streamSequence &&
    info.config.ack_policy === AckPolicy.All;
  if (fits) return info;
  if (info !== undefined) await manager.consumers.delete(stream, CONSUMER);
  return manager.consumers.add(stream, {
    durable_name: CONSUMER,
    description: "tiermesh auditor: stream to segments on disk",
    ack_policy: AckPolicy.All,
    ack_wait: ACK_WAIT_NS,
    max_ack_pending: MAX_UNACKED,
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: log.streamSequence + 1,
    replay_policy: ReplayPolicy.Instant,
  });
}
