import type { Msg } from "@nats-io/nats-core";
import { HEADERS, declaredAs, type RouteQuery } from "../bus-schemas/index.ts";
import type { EventPublisher } from "../service/events.ts";
import { classHeader, header } from "../service/messages.ts";
import type { RouteRequest } from "./policy/types.ts";

/**
 * Puts on record that the two places where a job may declare its class disagree, or that one of them is no class: the
 * strictest counts, and whoever keeps the record should know that someone meant another. At least once: a job that asks
 * for a ticket again says it again.
 * @throws MeshError `audit_unavailable`
 */
export function recordMismatch(
  events: Pick<EventPublisher, "record">,
  msg: Msg,
  job: Pick<RouteQuery, "security_level">,
  { jobId, dataClass }: Pick<RouteRequest, "jobId" | "dataClass">,
): void {
  const said = { header: declaredAs(classHeader(msg)), body: declaredAs(job.security_level) };
  const readable = said.header !== "unreadable" && said.body !== "unreadable";
  if (readable && (said.header === null || said.body === null || said.header === said.body)) return;
  const data = { job_id: jobId, ...said, security_level: dataClass };
  events.record("class_mismatch", data, { dataClass, traceparent: header(msg, HEADERS.traceparent) });
}
