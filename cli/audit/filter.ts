import { InvalidArgumentError, type Command } from "commander";
import {
  EVENT_TYPES,
  JobId,
  MAX_AUDIT_PAGE,
  NodeId,
  SubjectToken,
  type AuditFilter,
  type DataClass,
  type EventType,
} from "../../bus-schemas/index.ts";
import { moment } from "./when.ts";

/** What entries can be asked for by, as flags. */
export interface FilterFlags {
  job?: string;
  type?: EventType;
  node?: string;
  class?: DataClass;
  outcome?: string;
  caller?: string;
  since?: number;
  until?: number;
}

/** Adds the flags that choose entries. */
export function withFilters(command: Command): Command {
  return command
    .option("--job <id>", "only this job", jobId)
    .option("--type <type>", `only this type: ${EVENT_TYPES.join(", ")}`, eventType)
    .option("--node <id>", "only what is about this node, hops from and to it included", nodeId)
    .option("--class <class>", "only jobs of this data class: P0, P1 or P2", dataClass)
    .option("--outcome <word>", "only what ended or was decided so: finished, failed, refused, routed, …", outcome)
    .option("--caller <id>", "only jobs for this caller, or for whom it acts, as they are recorded", callerId)
    .option("--since <time>", "from this time on: 2026-11-26, 2026-11-26T08:00:00Z, 30m, 2h, 7d", (text) =>
      moment(text),
    )
    .option("--until <time>", "before this time", (text) => moment(text));
}

export function filterOf(flags: FilterFlags): AuditFilter {
  const { job, type, node, class: level, outcome: how, caller, since, until } = flags;
  return {
    ...(job === undefined ? {} : { job_id: job }),
    ...(type === undefined ? {} : { type }),
    ...(node === undefined ? {} : { node_id: node }),
    ...(level === undefined ? {} : { security_level: level }),
    ...(how === undefined ? {} : { outcome: how }),
    ...(caller === undefined ? {} : { caller }),
    ...(since === undefined ? {} : { since_unix_ms: since }),
    ...(until === undefined ? {} : { until_unix_ms: until }),
  };
}

export function jobId(text: string): string {
  if (!JobId.safeParse(text).success) throw new InvalidArgumentError("8 to 64 letters, digits, _ and -");
  return text;
}

/** How many entries. */
export function count(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > MAX_AUDIT_PAGE)
    throw new InvalidArgumentError(`a whole number from 1 to ${MAX_AUDIT_PAGE}`);
  return value;
}

function eventType(text: string): EventType {
  const known = EVENT_TYPES.find((type) => type === text);
  if (known === undefined) throw new InvalidArgumentError(`one of ${EVENT_TYPES.join(", ")}`);
  return known;
}

function nodeId(text: string): string {
  if (!NodeId.safeParse(text).success) throw new InvalidArgumentError("letters, digits, _ and -, 1 to 64 characters");
  return text;
}

function outcome(text: string): string {
  if (!SubjectToken.safeParse(text).success) throw new InvalidArgumentError("one word, such as finished or refused");
  return text;
}

function callerId(text: string): string {
  if (text === "" || text.length > 200) throw new InvalidArgumentError("1 to 200 characters");
  return text;
}

function dataClass(text: string): DataClass {
  if (text !== "P0" && text !== "P1" && text !== "P2") throw new InvalidArgumentError("P0, P1 or P2");
  return text;
}
