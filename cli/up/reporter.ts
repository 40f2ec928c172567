import type { AuditEntry, Decision, JobResult, StreamFrame } from "../../bus-schemas/index.ts";
import type { SeenNode } from "../../client/index.ts";

export interface ReadyFacts {
  gatewayUrl: string;
  natsUrl: string;
  cell: string;
  processes: readonly string[];
  logDir: string;
  seconds: number;
}

/** What `tiermesh up` tells, step by step: for a person at a terminal, or as JSON lines for a program. */
export interface UpReporter {
  start(): void;
  /** Progress and news of the running mesh. */
  say(line: string): void;
  /** A line of a process's log. */
  log(process: string, line: string): void;
  ready(facts: ReadyFacts): void;
  waitingForModel(): void;
  nodes(nodes: readonly SeenNode[]): void;
  question(text: string): void;
  decision(decision: Decision): void;
  frame(frame: StreamFrame): void;
  ended(result: JobResult): void;
  audit(entries: readonly AuditEntry[]): void;
  nextSteps(facts: ReadyFacts): void;
  problem(text: string): void;
  stopping(): void;
  stopped(): void;
}
