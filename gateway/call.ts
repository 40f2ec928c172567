import type { IncomingHttpHeaders } from "node:http";
import { MeshError, type JobRequestInput } from "../bus-schemas/index.ts";
import type { CallOptions } from "../client/index.ts";
import { callerOf } from "./caller.ts";
import { declaredClass } from "./data-class.ts";

/** A job ready for the mesh, with what came beside its body. */
export interface Call {
  job: JobRequestInput;
  options: CallOptions;
}

/** W3C trace context, version 00 as written today; later versions may append fields. */
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?$/;
const MAX_TRACEPARENT_CHARS = 100;

/** Fields of a job that callers may set beside OpenAI's own; job ids are the gateway's, so that no caller can take another's. */
const MESH_FIELDS = [
  "task_type",
  "requirements",
  "session_id",
  "timeout_ms",
  "deadline_unix_ms",
  "max_latency_ms",
  "commitment_salt",
] as const;

/** The body as an object. @throws MeshError `bad_request` */
export function asObject(body: unknown): Readonly<Record<string, unknown>> {
  if (typeof body !== "object" || body === null || Array.isArray(body))
    throw new MeshError("bad_request", "the body must be a JSON object");
  return body as Record<string, unknown>;
}

/** Copies `names` from `body`, leaving out what is absent or null: OpenAI's API takes null as "not set". */
export function pick(body: Readonly<Record<string, unknown>>, names: readonly string[]): Record<string, unknown> {
  const picked: Record<string, unknown> = {};
  for (const name of names) {
    const value = body[name];
    if (value !== undefined && value !== null) picked[name] = value;
  }
  return picked;
}

/**
 * Joins what headers and body say about how to run a job: data class, caller, deadline, trace. The fields' own types are checked
 * by whoever takes the job (MeshClient or router), which names the field.
 * @throws MeshError `bad_request` naming the header or field.
 */
export function toCall(
  fields: Record<string, unknown>,
  body: Readonly<Record<string, unknown>>,
  headers: IncomingHttpHeaders,
): Call {
  const metadata = body["metadata"] ?? undefined;
  if (metadata !== undefined && (typeof metadata !== "object" || Array.isArray(metadata))) {
    throw new MeshError("bad_request", "metadata: must be an object", { field: "metadata" });
  }
  const { dataClass, securityLevel } = declaredClass([headers["mesh-class"], headers["x-security-level"]], {
    security_level: body["security_level"],
    "metadata.security_level": (metadata as Record<string, unknown> | undefined)?.["security_level"],
  });
  const job = { ...fields, ...pick(body, MESH_FIELDS) };
  if (securityLevel !== undefined) job["security_level"] = securityLevel;
  else if (dataClass !== undefined) job["security_level"] = dataClass;
  earlier(job, "deadline_unix_ms", headerNumber(headers, "mesh-deadline", "Mesh-Deadline"));
  earlier(job, "timeout_ms", headerNumber(headers, "x-request-timeout-ms", "X-Request-Timeout-Ms"));
  const caller = callerOf(headers, body);
  if (caller !== undefined) job["caller"] = caller;
  const key = headers["idempotency-key"];
  if (typeof key === "string" && key !== "") job["idempotency_key"] = key;
  const traceparent = headers["traceparent"];
  const traced =
    typeof traceparent === "string" && traceparent.length <= MAX_TRACEPARENT_CHARS && TRACEPARENT.test(traceparent);
  return { job, options: { ...(dataClass === undefined ? {} : { dataClass }), ...(traced ? { traceparent } : {}) } };
}

/** The earlier of a header's and the body's limit counts. */
function earlier(job: Record<string, unknown>, field: string, limit: number | undefined): void {
  if (limit === undefined) return;
  const own = job[field];
  if (own === undefined || (typeof own === "number" && own > limit)) job[field] = limit;
}

function headerNumber(headers: IncomingHttpHeaders, name: string, spelling: string): number | undefined {
  const text = headers[name];
  if (text === undefined || text === "") return undefined;
  if (typeof text !== "string" || !/^\d{1,15}$/.test(text))
    throw new MeshError("bad_request", `${spelling}: must be whole milliseconds`, { field: spelling });
  return Number(text);
}
