import { AuditPage, MeshError, parseOrThrow, type AuditEntry, type AuditQueryInput } from "../bus-schemas/index.ts";
import type { MeshClient } from "../client/index.ts";
import { pause } from "../service/loop.ts";

/** The auditor answers within this time, milliseconds. */
const ANSWER_LIMIT_MS = 3000;
/** An event is in the auditor's log this long after it was recorded, at the worst of a quiet machine, milliseconds. */
const SETTLE_LIMIT_MS = 5000;

/** @throws MeshError `audit_unavailable` when no auditor answers. */
export async function queryAudit(client: MeshClient, query: AuditQueryInput): Promise<AuditPage> {
  try {
    const reply = await client.bus.nc.request(client.bus.subjects.auditQuery, JSON.stringify(query), {
      timeout: ANSWER_LIMIT_MS,
    });
    const body = reply.json<{ error?: { message?: string } }>();
    if (body.error !== undefined)
      throw new MeshError("bad_request", body.error.message ?? "the auditor refused the question");
    return parseOrThrow(AuditPage, body, "internal");
  } catch (error) {
    if (error instanceof MeshError) throw error;
    throw new MeshError("audit_unavailable", "no auditor answers; see `tiermesh status`", { cause: error });
  }
}

/** The audit entries of a job once its ending is in the log, or what is there at the limit. */
export async function auditOfJob(client: MeshClient, jobId: string): Promise<AuditEntry[]> {
  const deadlineMs = performance.now() + SETTLE_LIMIT_MS;
  for (;;) {
    const { events } = await queryAudit(client, { job_id: jobId });
    if (events.some((entry) => entry.type === "job_ended") || performance.now() > deadlineMs) return events;
    await pause(50);
  }
}
