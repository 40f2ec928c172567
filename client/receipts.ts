import { AuditReceipt, HEADERS, JobId, MeshError, WireError, parseOrThrow } from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import { decode, encode } from "../service/codec.ts";
import { header, headersFor } from "../service/messages.ts";

/** How long the auditor is to wait for an ending and its checkpoint, milliseconds: longer than both take on a busy machine. */
const WAIT_MS = 3000;
/** And then it answers within this time, milliseconds. */
const ANSWER_LIMIT_MS = 2000;

/** @throws MeshError `bad_request` when it is no job id, `not_found`, `audit_unavailable` */
export async function askReceipt(bus: Bus, jobId: string): Promise<AuditReceipt> {
  const request = { job_id: parseOrThrow(JobId, jobId), wait_ms: WAIT_MS };
  let body: { error?: unknown };
  try {
    const reply = await bus.nc.request(bus.subjects.auditReceipt, encode(request, "json"), {
      timeout: WAIT_MS + ANSWER_LIMIT_MS,
      headers: headersFor("json"),
    });
    body = decode(reply.data, header(reply, HEADERS.contentType)) as { error?: unknown };
  } catch (cause) {
    throw new MeshError("audit_unavailable", "no auditor answers; is the mesh up? (tiermesh status)", {
      cause,
      retryAfterMs: 1000,
    });
  }
  if (body.error !== undefined) throw MeshError.fromWire(parseOrThrow(WireError, body.error, "internal"));
  return parseOrThrow(AuditReceipt, body, "internal");
}
