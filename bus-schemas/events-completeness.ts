import { z } from "zod";
import { JobId, Label, NodeId, SubjectToken, UnixMs } from "./units.ts";

/** A count that only grows; beyond any bound of a single field. */
const Total = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/** What the auditor found missing. */
export const GAP_KINDS = [
  /** A job that was decided, and neither ended nor was ended by its deadline and the grace after it. */
  "job_unended",
  /** A run that an agent recorded, of a job that no router decided. */
  "run_undecided",
  /** The same on a node that reaches a cloud. */
  "egress_undecided",
  /** A process counts more events that the stream had than the log has of it. */
  "events_missing",
  /** The log has more events of a process than it made. */
  "events_surplus",
  /**
   * More was counted than the log accounts for: runs or requests to providers than decisions name the node, dispatches than
   * the router decided, finished answers at a gateway than endings of that kind.
   */
  "counts_disagree",
] as const;

/** Events that show whether the record is whole (ADR 0029); a part of `EVENTS`. */
export const COMPLETENESS_EVENTS = {
  counts_reported: {
    by: ["router", "agent", "gateway"],
    ofJob: false,
    summary:
      "What a process has counted since it started: its events, jobs and requests. At its start, each minute in which something changed, and at its end.",
    data: z.object({
      /** This life of the process. */
      boot_id: SubjectToken,
      /** From 0, the report of the start. */
      report: Total,
      /** When it started. */
      since_unix_ms: UnixMs,
      /** By type: events that it made, and those of them that the stream had acknowledged to it when this was written. */
      events: z.record(SubjectToken, z.object({ made: Total, stored: Total })),
      /** Events of former lives that it found unsent and sent in its own name. */
      left_over: Total,
      /** What else it counts: an agent `started` and `provider_requests`, a router `dispatched`, a gateway `submitted` and `finished`. */
      counts: z.record(SubjectToken, Total),
    }),
  },
  audit_gap: {
    by: ["auditor"],
    ofJob: false,
    summary: "The record is not whole: something that must be in it is not, or counts disagree. It is an alert.",
    data: z.object({
      kind: z.enum(GAP_KINDS),
      severity: z.enum(["warning", "critical"]),
      /** Of a gap about a job. */
      job_id: JobId.nullable(),
      /** Of a gap about a process: `agent/gpu-1`. */
      source: Label.nullable(),
      boot_id: SubjectToken.nullable(),
      node_id: NodeId.nullable(),
      /** Which count: an event's type, or a name of `counts`. */
      counted: SubjectToken.nullable(),
      /** What the process says, and what the log has. */
      said: Total.nullable(),
      found: Total.nullable(),
      /** For people. */
      detail: z.string().max(300),
    }),
  },
  stream_changed: {
    by: ["keeper"],
    ofJob: false,
    summary:
      "Somebody made, reconfigured, purged or deleted the stream of events, a message of it or the auditor's consumer, or tried to: as the broker itself tells.",
    data: z.object({
      stream: SubjectToken,
      /** The broker's word: `STREAM.PURGE`, `STREAM.UPDATE`, `STREAM.MSG.DELETE`, `CONSUMER.DELETE`, … */
      action: z.string().max(60),
      severity: z.enum(["info", "critical"]),
      /** Public key or user name by which the broker knows who did it. */
      by: Label.nullable(),
      /** What the connection calls itself. */
      client: Label.nullable(),
      /** Messages that are gone; null when the broker does not say. */
      purged: Total.nullable(),
      /** Why the broker did not do it; null when it did. */
      refused: z.string().max(200).nullable(),
    }),
  },
} as const;

export type GapKind = (typeof GAP_KINDS)[number];
