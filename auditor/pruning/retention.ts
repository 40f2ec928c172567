import {
  MIN_RETENTION_DAYS,
  type AuditEntry,
  type DataClass,
  type LogEntry,
  type RoutingConfig,
} from "../../bus-schemas/index.ts";

/** How long entries stay, days; `none`: of events that are about no job. */
export type Retention = Record<DataClass | "none", number>;

const DEFAULT_DAYS = 365;
const DAY_MS = 24 * 3600 * 1000;

/** What a policy asks for. Events without a class stay as long as those of any: nothing is worth less than a job's record. */
export function retentionOf(policy: RoutingConfig | undefined): Retention {
  const ofAll = policy?.deployment.security_policy.audit_retention_days ?? DEFAULT_DAYS;
  const days = (dataClass: DataClass) =>
    Math.max(MIN_RETENTION_DAYS, policy?.routing_policy.security[dataClass].audit_retention_days ?? ofAll);
  const classes = { P0: days("P0"), P1: days("P1"), P2: days("P2") };
  return { ...classes, none: Math.max(...Object.values(classes), ofAll) };
}

/**
 * How old an entry counts as, epoch milliseconds. Whoever said the event said its time, too: it counts as no later than when it was
 * written, and no earlier than what lies before it in the log.
 * @param writtenMs when the entry's bundle was written
 * @param beforeMs the same of the entry before it
 */
export function timeOf(entry: LogEntry, writtenMs: number, beforeMs: number): number {
  const saidMs = Date.parse((entry as Partial<AuditEntry>).time ?? "");
  return Math.max(beforeMs, Number.isNaN(saidMs) ? writtenMs : Math.min(saidMs, writtenMs));
}

/** Whether an entry's time is over. @param atMs its time ({@link timeOf}) */
export function isExpired(entry: LogEntry, retention: Retention, atMs: number, nowMs: number): boolean {
  const { security_level: dataClass } = entry as Partial<AuditEntry>;
  return atMs + retention[dataClass ?? "none"] * DAY_MS < nowMs;
}
