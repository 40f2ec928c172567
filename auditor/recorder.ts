/**
 * Takes the stream AUDIT into the log on disk.
 * 1. The log is the truth: the durable consumer is set to what the log has, never the other way round.
 * 2. An event is acknowledged only after its line was fsynced; one fsync serves all events that waited for it.
 * 3. Events enter in the stream's order. A hole in the consumer's delivery numbers (messages lost with a connection)
 *    ends the session, and the next one starts behind the log's last entry. So nothing is missed, nothing enters twice.
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
import { toEntry } from "./entry.ts";
import type { SegmentLog } from "./segment-log.ts";

/** Name of the durable consumer: `nats consumer info AUDIT auditor` shows how far the auditor is. */
export const CONSUMER = "auditor";
/** Events that may wait for their fsync; the stream holds back more. */
const MAX_UNACKED = 4096;
/** Most events in one write and fsync. */
const BATCH = 1024;
/** Longer than any fsync; what is not acknowledged by then is sent again, which ends the session. Nanoseconds. */
const ACK_WAIT_NS = 60 * 1_000_000_000;

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
  log: SegmentLog,
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
      if (waiting.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      else await store(waiting.splice(0, BATCH), log, hooks);
      if (signal.aborted) await messages.close();
    }
  } finally {
    signal.removeEventListener("abort", stop);
    await messages.close();
  }
  if (ended !== undefined) throw ended;
}

async function store(batch: readonly JsMsg[], log: SegmentLog, hooks: RecorderHooks): Promise<void> {
  const startMs = performance.now();
  const fresh = batch.filter((msg) => msg.seq > log.streamSequence);
  const entries = fresh.map((msg, i) =>
    toEntry(
      { subject: msg.subject, streamSequence: msg.seq, data: msg.data, header: (name) => msg.headers?.get(name) ?? "" },
      log.sequence + 1 + i,
    ),
  );
  if (entries.length > 0) await log.append(entries);
  const newest = batch.at(-1);
  // The consumer acknowledges in order (AckPolicy.All): the last one stands for all before it.
  newest?.ack();
  hooks.onStored(entries, (performance.now() - startMs) / 1000, newest?.info.pending ?? 0);
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
