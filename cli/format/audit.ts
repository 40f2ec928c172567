import type { AuditEntry } from "../../bus-schemas/index.ts";
import { harmless } from "./terminal.ts";

/** Fields of an event's data that say most in few words. */
const FACTS =
  "status node_id model process exit auditor previous kind role problem witness state reason by what count minimum_index".split(
    " ",
  );

/** One entry in one line: position, time, what happened. */
export function auditLine(entry: AuditEntry): string {
  const data = entry.data as Record<string, unknown> | null;
  const facts = FACTS.flatMap((key) => {
    const value = data?.[key];
    return typeof value === "string" || typeof value === "number" ? [`${key}=${harmless(String(value))}`] : [];
  });
  return `#${entry.sequence} ${entry.time} ${entry.type} ${entry.security_level ?? "-"} ${entry.job_id === null ? "" : `job=${entry.job_id} `}${facts.join(" ")}`.trimEnd();
}
