import type { Msg } from "@nats-io/nats-core";
import { JobResult, type Caller, type DataClass, type MeshError, type Outcome } from "../bus-schemas/index.ts";
import { respond } from "../service/messages.ts";
import type { Dispatch } from "./dispatch-table.ts";

/** An ending that a router gives a job itself: before a node had it, or because its node is lost. */
export interface RouterEnding {
  /** The caller's message. */
  message: Msg;
  jobId: string;
  error: MeshError;
  attempts: number;
  dataClass?: DataClass;
  decisionId?: string | undefined;
  /** Node that had accepted the job. */
  nodeId?: string | undefined;
  /** How long it waited here, when it ended undecided, milliseconds. */
  waitedMs?: number | undefined;
  /** For whom it was. */
  caller?: Caller | undefined;
}

/** Of a job that was sent to a node. */
export function endingOf(dispatch: Dispatch, error: MeshError): RouterEnding {
  const { message, jobId, request, decisionId, attempt, acceptedBy } = dispatch;
  const { dataClass, caller } = request;
  return { message, jobId, error, attempts: attempt, dataClass, decisionId, nodeId: acceptedBy, caller };
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
