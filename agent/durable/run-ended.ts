import type { EventData, Layer } from "../../bus-schemas/index.ts";
import type { JobFacts } from "../job.ts";

/** What is recorded of a run of a durable job. That it ended is not yet how the job did: a router says that. */
export function runEnded(
  facts: JobFacts,
  fence: number,
  ended: EventData<"job_ended">,
  nodeId: string,
  layer: Layer,
): EventData<"job_run_ended"> {
  const { job_id, status, decision_id, usage, cost, energy_wh, timing, error, commitments } = ended;
  const place = { node_id: nodeId, layer, model: facts.model };
  return {
    job_id,
    fence,
    status,
    ...place,
    decision_id,
    usage,
    ...(cost === undefined ? {} : { cost }),
    ...(energy_wh === undefined ? {} : { energy_wh }),
    ...(commitments === undefined ? {} : { commitments }),
    timing,
    error,
  };
}
