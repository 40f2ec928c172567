import type { Msg } from "@nats-io/nats-core";
import { JobResult, type DataClass, type JobResultInput, type MeshError, type Outcome } from "../bus-schemas/index.ts";
import { respond } from "../service/messages.ts";

/** Endings that a router gives itself: before a node had the job, or because the node is lost. */
export function answerEnding(
  message: Msg,
  ending: { jobId: string; status: Outcome; error: MeshError; dataClass?: DataClass | undefined; decisionId?: string | undefined; attempts: number; nodeId?: string | undefined },
): void {
  const { jobId, status, error, dataClass, decisionId, attempts, nodeId } = ending;
  const result: JobResultInput = {
    job_id: jobId,
    status,
    security_level: dataClass ?? null,
    node_id: nodeId ?? null,
    decision_id: decisionId ?? null,
    attempts,
    error: error.toWire(),
  };
  respond(message, JobResult.parse(result));
}
