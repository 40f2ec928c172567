import { z } from "zod";
import { DataClass } from "./classes.ts";
import { WireError } from "./errors.ts";
import { EVENT_TYPES, EventRecord, type EventType } from "./events.ts";
import { Count, IsoTime, JobId, Label, NodeId, SubjectToken, UnixMs, WattHours } from "./units.ts";

/** Position in a log or a stream, counted from 1. */
const Sequence = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/** One event in the auditor's log: the event and where it stands. */
export const AuditEntry = EventRecord.extend({
  /** Position in the auditor's log, from 1, without holes. */
  sequence: Sequence.min(1),
  /** Position in the stream AUDIT, where it came from. */
  stream_sequence: Sequence.min(1),
  /** The job it is about, if any: what the log is looked up by. */
  job_id: JobId.nullable(),
});
export type AuditEntry = z.infer<typeof AuditEntry>;

/** A message on an event subject that was no event: what is kept of it. Its body is not, it could hold anything. */
export const RejectedEntry = z.object({
  sequence: Sequence.min(1),
  stream_sequence: Sequence.min(1),
  job_id: z.null(),
  rejected: z.object({ subject: z.string().max(300), size_bytes: Sequence, reason: z.string().max(2000) }),
});
export type RejectedEntry = z.infer<typeof RejectedEntry>;

/** What one line of the log holds. */
export type LogEntry = AuditEntry | RejectedEntry;

/** Most entries in one answer of the auditor. */
export const MAX_AUDIT_PAGE = 1000;

/** Events that end a job: each job that was accepted has one. */
export const ENDING_TYPES = ["job_ended", "job_dead"] as const satisfies readonly EventType[];

/** Which entries are meant; all that is said must fit. */
export const AuditFilter = z.object({
  job_id: JobId.optional(),
  type: z.enum(EVENT_TYPES as [EventType, ...EventType[]]).optional(),
  /** Entries about this node; of a hop, the node that the job left or went to. */
  node_id: NodeId.optional(),
  security_level: DataClass.optional(),
  /** How a job or its run ended (`finished`, `failed`, …), or a decision (`routed`, `refused`). */
  outcome: SubjectToken.optional(),
  /** Jobs for this caller, or for one that it acts for; as it is recorded. */
  caller: z.string().min(1).max(200).optional(),
  /** Time of the event, as its sender said it: from here on, epoch milliseconds. */
  since_unix_ms: UnixMs.optional(),
  /** And before this. */
  until_unix_ms: UnixMs.optional(),
});
export type AuditFilter = z.infer<typeof AuditFilter>;

/** A question to the auditor: the entries after a position, oldest first. */
export const AuditQuery = AuditFilter.extend({
  /** Only entries behind this position of the log. Without it the question is for the newest `limit` entries. */
  after_sequence: Sequence.optional(),
  limit: Count.min(1).max(MAX_AUDIT_PAGE).default(100),
});
export type AuditQuery = z.infer<typeof AuditQuery>;
export type AuditQueryInput = z.input<typeof AuditQuery>;

/** Whether events come into the log, by one that the auditor writes for that; asking the stream how it is says less. */
export const RecordPath = z.object({
  ok: z.boolean(),
  /** How long ago the stream last acknowledged one, milliseconds; null = not since the start. */
  last_ack_ms: Sequence.nullable(),
  /** How long ago one had last come through, with all before it in the log and under a checkpoint, milliseconds. */
  last_logged_ms: Sequence.nullable(),
  /** What does not work; null when all does. */
  problem: Label.nullable(),
});
export type RecordPath = z.infer<typeof RecordPath>;

/** The auditor's answer. */
export const AuditPage = z.object({
  events: z.array(AuditEntry),
  /** Send it as the next `after_sequence` to go on; equal to the question's when nothing was behind it. */
  next: Sequence,
  /** First position that can be asked for here; older segments are on the auditor's disk only. */
  first: Sequence,
  /** Why there may be less than was asked for; null when the answer is whole. */
  note: Label.nullable(),
  record_path: RecordPath.optional(),
  /** Only when the question could not be answered. */
  error: WireError.optional(),
});
export type AuditPage = z.infer<typeof AuditPage>;

/** Numbers over the entries that were asked for (`audit.stats`). */
export const AuditStats = z.object({
  entries: Sequence,
  /** Different jobs that they are about. */
  jobs: Sequence,
  first_time: IsoTime.nullable(),
  last_time: IsoTime.nullable(),
  by_type: z.record(z.string(), Sequence),
  /** Of those that concern a job. */
  by_class: z.record(z.string(), Sequence),
  /** How jobs ended. */
  endings: z.record(z.string(), Sequence),
  /** Where jobs ended; those with most first. */
  nodes: z.array(z.object({ node_id: NodeId, jobs: Sequence })),
  /** Of the jobs whose nodes know it; null when none does. */
  energy_wh: WattHours.nullable(),
  /** By currency, of the jobs whose nodes know a price. */
  cost: z.record(z.string(), z.number()),
  /** Position up to which entries are counted here: some of the last second may not be yet. */
  indexed: Sequence,
  /** Only when the question could not be answered. */
  error: WireError.optional(),
});
export type AuditStats = z.infer<typeof AuditStats>;

/** The auditor's answer to an `ExportNote`: the event that records it, or why there is none. */
export const ExportReply = z.union([z.object({ event_id: z.string().max(64) }), z.object({ error: WireError })]);

/** A caller waits at most so long for a receipt, milliseconds; a checkpoint comes within about a second of an ending. */
export const MAX_RECEIPT_WAIT_MS = 5000;

/** Asks for the proof that the ending of a job is in the signed log (`audit.receipt`). */
export const ReceiptRequest = z.object({
  job_id: JobId,
  /** How long to wait for the ending and its checkpoint, milliseconds. */
  wait_ms: Count.max(MAX_RECEIPT_WAIT_MS).default(0),
});
export type ReceiptRequest = z.infer<typeof ReceiptRequest>;

/** A receipt, and what it is of. It proves itself by the log's verifier key, which is not in it. */
export const AuditReceipt = z.object({
  job_id: JobId,
  /** The text of a `.tlog-proof` (c2sp.org/tlog-proof). */
  receipt: z.string().max(200_000),
  origin: z.string().max(300),
  /** Of the entry in the log, from 0, and the number of entries under the checkpoint. */
  index: Sequence,
  size: Sequence,
  type: z.enum(EVENT_TYPES as [EventType, ...EventType[]]),
  time: IsoTime,
});
export type AuditReceipt = z.infer<typeof AuditReceipt>;

/** `not_found` while there is none; then asking again may help. */
export const ReceiptReply = z.union([AuditReceipt, z.object({ error: WireError })]);
export type ReceiptReply = z.infer<typeof ReceiptReply>;
