import type { Comparison } from "./harness.ts";

/** Where a bench puts what it found. */
export interface Report {
  add(comparison: Comparison): void;
  /** A fact beside the times, such as a size. */
  note(text: string): void;
}

export interface BenchOptions {
  /** How long to look, for a bench that only looks; undefined = its own default. */
  minutes: number | undefined;
}

export interface Bench {
  /** What is measured against what, in one line. */
  summary: string;
  run(report: Report, options: BenchOptions): Promise<void>;
}
