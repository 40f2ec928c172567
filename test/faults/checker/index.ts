import type { History } from "../mesh/history.ts";
import { callerRules } from "./callers.ts";
import { LIMITS } from "./limits.ts";
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

/** All that a history breaks of what holds. */
export function check(history: History): Violation[] {
  return broken(RULES, history);
}

/** All that it breaks of what does not hold yet. */
export function checkLimits(history: History): Violation[] {
  return broken(LIMITS, history);
}

function broken(rules: readonly Rule[], history: History): Violation[] {
  return rules.flatMap((rule) => rule.check(history).map((what) => ({ rule: rule.name, what })));
}
