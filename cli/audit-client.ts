import {
  AuditPage,
  MeshError,
  WireError,
  parseOrThrow,
  type AuditEntry,
  type AuditQueryInput,
} from "../bus-schemas/index.ts";
import type { MeshClient } from "../client/index.ts";
import { pause } from "../service/loop.ts";

/** The auditor answers within this time, milliseconds. */
const ANSWER_LIMIT_MS = 3000;
/** A search over the whole log may take so long, milliseconds. */
const SEARCH_LIMIT_MS = 12_000;
/** An event is in the auditor's log this long after it was recorded, at the worst of a quiet machine, milliseconds. */
const SETTLE_LIMIT_MS = 5000;

/** @throws MeshError `audit_unavailable` when no auditor answers; what the auditor answers instead of entries. */
export function queryAudit(client: MeshClient, query: AuditQueryInput): Promise<AuditPage> {
  return askPage(client, query, ANSWER_LIMIT_MS);
}

/** As {@link queryAudit}, for questions that go over the whole log. */
export function searchAudit(client: MeshClient, query: AuditQueryInput): Promise<AuditPage> {
  return askPage(client, query, SEARCH_LIMIT_MS);
}

async function askPage(client: MeshClient, query: AuditQueryInput, limitMs: number): Promise<AuditPage> {
  return parseOrThrow(AuditPage, await askAuditor(client, client.bus.subjects.auditQuery, query, limitMs), "internal");
}

/** Asks the auditor of a mesh. @throws MeshError `audit_unavailable` when none answers; what it answers as an error. */
export async function askAuditor(
  client: MeshClient,
  subject: string,
  question: unknown,
  limitMs = SEARCH_LIMIT_MS,
): Promise<unknown> {
  let body: { error?: unknown };
  try {
    const reply = await client.bus.nc.request(subject, JSON.stringify(question), { timeout: limitMs });
    body = reply.json<{ error?: unknown }>();
  } catch (error) {
    throw new MeshError("audit_unavailable", "no auditor answers; see `tiermesh status`", { cause: error });
  }
  if (body.error !== undefined) throw MeshError.fromWire(parseOrThrow(WireError, body.error, "internal"));
  return body;
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
