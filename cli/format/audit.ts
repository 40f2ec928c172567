import type { AuditEntry } from "../../bus-schemas/index.ts";

/** One entry in one line: position, time, what happened. */
export function auditLine(entry: AuditEntry): string {
  const data = entry.data as Record<string, unknown> | null;
  const facts = ["status", "node_id", "model", "process", "exit"].flatMap((key) =>
    typeof data?.[key] === "string" ? [`${key}=${data[key]}`] : [],
  );
  return `#${entry.sequence} ${entry.time} ${entry.type} ${entry.security_level ?? "-"} ${entry.job_id === null ? "" : `job=${entry.job_id} `}${facts.join(" ")}`.trimEnd();
}
