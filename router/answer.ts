import type { Msg } from "@nats-io/nats-core";
import { JobResult, type DataClass, type MeshError, type Outcome } from "../bus-schemas/index.ts";
import { respond } from "../service/messages.ts";

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
