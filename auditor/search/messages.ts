/** What the auditor's two threads say to each other about searches. */
import type { AuditFilter, AuditPage, AuditQuery, AuditStats, WireError } from "../../bus-schemas/index.ts";
import type { Gap } from "./gap.ts";

/** Handed to the thread when it starts. */
export interface SearchConfig {
  /** The auditor's folder. */
  folder: string;
  /** How often it is looked for new entries, milliseconds. */
  everyMs: number;
  /** What the log is encrypted with, as texts; none for one that is not. */
  storageKeys: readonly string[];
}

export type SearchQuestion =
  | { kind: "query"; query: AuditQuery }
  | { kind: "stats"; about: AuditFilter }
  /** What is missing in the log; asked when it has all that the stream has. */
  | { kind: "gaps"; nowMs: number; steadyMs: number }
  /** Position of the newest ending of a job that is in the index; 0 for none. */
  | { kind: "ending"; jobId: string };

export interface SearchAnswers {
  query: AuditPage;
  stats: AuditStats;
  gaps: Gap[];
  ending: number;
}

export interface ToSearch {
  id: number;
  question: SearchQuestion;
}

export type FromSearch =
  | { type: "answer"; id: number; answer: SearchAnswers[keyof SearchAnswers] }
  | { type: "failed"; id: number; error: WireError }
  /** How far the index is, and why it does not go on. */
  | { type: "state"; indexed: number; problem: string | null };
