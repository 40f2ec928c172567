import type { Msg } from "@nats-io/nats-core";
import { HEADERS, JobResult, type DataClass, type MeshError, type Outcome } from "../bus-schemas/index.ts";
import { header, respond } from "../service/messages.ts";
import type { RouterParts } from "./parts.ts";

/** An ending that a router gives a job itself: before a node had it, or because its node is lost. */
export interface RouterEnding {
  /** The caller's message. */
  message: Msg;
  jobId: string;
  error: MeshError;
  attempts: number;
  dataClass?: DataClass;
  decisionId?: string;
  /** Node that had accepted the job. */
  nodeId?: string;
  /** How long it waited here, when it ended undecided, milliseconds. */
  waitedMs?: number;
}

export function statusOf({ error, nodeId }: RouterEnding): Outcome {
  if (error.code === "cancelled") return "cancelled";
  if (error.code === "deadline_exceeded") return "expired";
  return nodeId === undefined ? "refused" : "failed";
}

/** Tells the caller. */
export function answerEnding(ending: RouterEnding): void {
  const { message, jobId, error, dataClass, decisionId, attempts, nodeId } = ending;
  const result = JobResult.parse({
    job_id: jobId,
    status: statusOf(ending),
    security_level: dataClass ?? null,
    node_id: nodeId ?? null,
    decision_id: decisionId ?? null,
    attempts,
    error: error.toWire(),
  });
  respond(message, result);
}

/** Puts it on record, best effort: the caller has been told. */
export function recordEnding({ events, log }: Pick<RouterParts, "events" | "log">, ending: RouterEnding): void {
  const { message, jobId, error, dataClass, decisionId, nodeId, waitedMs } = ending;
  const nothing = { layer: null, model: null, finish_reason: null, usage: null, timing: null };
  const data = {
    job_id: jobId,
    status: statusOf(ending),
    node_id: nodeId ?? null,
    decision_id: decisionId ?? null,
    error: error.toWire(),
    ...nothing,
    ...(waitedMs === undefined ? {} : { waited_ms: waitedMs }),
  };
  try {
    events.record("job_ended", data, { dataClass, traceparent: header(message, HEADERS.traceparent) });
  } catch (cause) {
    log.warn({ err: cause, job: jobId }, "the ending of a refused job could not be recorded");
  }
}
