import type { History } from "../mesh/history.ts";
import { callerRules } from "./callers.ts";
import { nodeRules } from "./nodes.ts";
import { recordRules } from "./record.ts";

/** One thing that must hold for every history; says what does not. It knows no production code. */
export interface Rule {
  name: string;
  check(history: History): string[];
}

export interface Violation {
  rule: string;
  what: string;
}

const RULES: readonly Rule[] = [
  ...callerRules,
  ...nodeRules,
  ...recordRules,
  { name: "no error that nobody expected", check: ({ errors }) => errors },
  { name: "a sealed job is never on the bus in clear", check: ({ leaks }) => leaks },
  { name: "everything is over after the healing", check: ({ leftovers }) => leftovers },
];

/** All that a history breaks. */
export function check(history: History): Violation[] {
  return RULES.flatMap((rule) => rule.check(history).map((what) => ({ rule: rule.name, what })));
}
