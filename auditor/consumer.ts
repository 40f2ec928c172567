/** Brings the log, the stream and the auditor's durable consumer to one position. */
import { AckPolicy, DeliverPolicy, ReplayPolicy, type ConsumerInfo, type JetStreamManager } from "@nats-io/jetstream";
import type { AuditorName } from "../bus-schemas/index.ts";
import type { SegmentLog } from "./segment-log.ts";

/** Events that may wait for their fsync and their checkpoint; the stream holds back more. */
export const MAX_UNACKED = 8192;
/** Longer than any fsync; what is not acknowledged by then is sent again, and known. Nanoseconds. */
const ACK_WAIT_NS = 60 * 1_000_000_000;

/** Begins a new segment when the stream is not the one that the log was written from, or lost its newest events. */
export async function alignStream(manager: JetStreamManager, stream: string, log: SegmentLog): Promise<void> {
  const { created, state } = await manager.streams.info(stream);
  if (created !== log.streamCreated) await log.startStream(created, 0);
  // A stream that was set back (restored, or a power cut) gives numbers a second time: what it still has is here already.
  else if (state.last_seq < log.streamSequence) await log.startStream(created, state.last_seq);
}

/**
 * The durable consumer, delivering from behind the log's last entry on. It has the auditor's name:
 * `nats consumer info AUDIT auditor` shows how far that one is.
 */
export async function alignConsumer(
  manager: JetStreamManager,
  stream: string,
  name: AuditorName,
  log: SegmentLog,
): Promise<ConsumerInfo> {
  const info = await manager.consumers.info(stream, name).catch(() => undefined);
  const fits =
    info !== undefined &&
    info.num_ack_pending === 0 &&
    info.delivered.stream_seq <= log.streamSequence &&
    info.config.ack_policy === AckPolicy.All;
  if (fits) return info;
  if (info !== undefined) await manager.consumers.delete(stream, name);
  return manager.consumers.add(stream, {
    durable_name: name,
    description: "tiermesh auditor: stream to segments on disk",
    ack_policy: AckPolicy.All,
    ack_wait: ACK_WAIT_NS,
    max_ack_pending: MAX_UNACKED,
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: log.streamSequence + 1,
    replay_policy: ReplayPolicy.Instant,
  });
}
