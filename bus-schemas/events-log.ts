import { z } from "zod";
import { AUDITORS } from "./auditors.ts";
import { Count, Label } from "./units.ts";

const LogName = z.string().max(300);

/** The event that is no entry of the log: every auditor passes it over in its place. */
export const CANARY = "canary";

/** Events about the auditor's log itself (ADR 0027, 0028); a part of `EVENTS`. */
export const LOG_EVENTS = {
  audit_writer_changed: {
    by: ["auditor"],
    ofJob: false,
    summary: "Another auditor writes the log from now on, because the one before did not say for a while that it does.",
    data: z.object({
      auditor: z.enum(AUDITORS),
      previous: z.enum(AUDITORS),
      /** Entries that were agreed on by then. */
      tree_size: Count,
      /** The log's name, and what it was before: another one when a new log was begun. */
      origin: LogName,
      previous_origin: LogName,
    }),
  },
  audit_problem: {
    by: ["auditor"],
    ofJob: false,
    summary: "The auditor cannot go on with its log, or can again; events wait in the stream meanwhile.",
    data: z.object({
      auditor: z.enum(AUDITORS),
      kind: z.enum(["disk", "log", "stream"]),
      /** The error's code, or what does not fit; null when it is over. */
      problem: z.string().max(300).nullable(),
    }),
  },
  audit_pruned: {
    by: ["auditor"],
    ofJob: false,
    summary:
      "The log's entries before an index are past their retention and may be removed from here on; the tree stays as it is.",
    data: z.object({
      auditor: z.enum(AUDITORS),
      /** Index of the first entry that stays, from 0. */
      minimum_index: Count,
      /** By the policy in force, for each class and for events of none. */
      retention_days: z.object({ P0: Count, P1: Count, P2: Count, none: Count }),
    }),
  },
  [CANARY]: {
    by: ["auditor"],
    ofJob: false,
    summary:
      "The auditor that writes tries whether the stream takes events and gives them out again; not an entry of the log.",
    data: z.object({ auditor: z.enum(AUDITORS) }),
  },
  witness_changed: {
    by: ["auditor"],
    ofJob: false,
    summary: "A witness of the log fell behind, refuses the log, or cosigns it again.",
    data: z.object({
      witness: Label,
      state: z.enum(["cosigns", "behind", "refuses"]),
      /** HTTP status or the error's code; null when it cosigns. */
      reason: z.string().max(200).nullable(),
      /** Entries of the newest checkpoint, and of the newest that it has cosigned for this auditor. */
      tree_size: Count,
      cosigned_size: Count,
    }),
  },
} as const;
