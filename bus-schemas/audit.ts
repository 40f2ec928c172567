import { z } from "zod";
import { WireError } from "./errors.ts";
import { EVENT_TYPES, EventRecord, type EventType } from "./events.ts";
import { Count, JobId, Label } from "./units.ts";

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

/** A question to the auditor: the entries after a position, oldest first. */
export const AuditQuery = z.object({
  job_id: JobId.optional(),
  type: z.enum(EVENT_TYPES as [EventType, ...EventType[]]).optional(),
  /** Only entries behind this position of the log. Without it the question is for the newest `limit` entries. */
  after_sequence: Sequence.optional(),
  limit: Count.min(1).max(MAX_AUDIT_PAGE).default(100),
});
export type AuditQuery = z.infer<typeof AuditQuery>;
export type AuditQueryInput = z.input<typeof AuditQuery>;

/** The auditor's answer. */
export const AuditPage = z.object({
  events: z.array(AuditEntry),
  /** Send it as the next `after_sequence` to go on; equal to the question's when nothing was behind it. */
  next: Sequence,
  /** First position that can be asked for here; older segments are on the auditor's disk only. */
  first: Sequence,
  /** Why there may be less than was asked for; null when the answer is whole. */
  note: Label.nullable(),
  /** Only when the question could not be answered. */
  error: WireError.optional(),
});
export type AuditPage = z.infer<typeof AuditPage>;
