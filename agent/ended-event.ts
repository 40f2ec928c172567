import type { Commitments, Cost, EventData, JobResult } from "../bus-schemas/index.ts";
import type { JobFacts } from "./job.ts";

/** What the node knows of an ending; the parts that the caller is told differently are taken from what it was told. */
type Known = Omit<EventData<"job_ended">, "energy_wh" | "cost" | "sealed"> & {
  energyWh: number | null;
  cost: Cost | undefined;
  commitments: Commitments;
};

/** What is recorded of an ending: what the caller was told of it, and what is for the record alone. */
export function endedEvent(
  { sealed, request: { caller } }: Pick<JobFacts, "sealed" | "request">,
  { energyWh, cost, commitments, ...shared }: Known,
  { status, finish_reason, error }: Pick<JobResult, "status" | "finish_reason" | "error">,
): EventData<"job_ended"> {
  return {
    ...shared,
    ...(cost === undefined ? {} : { cost }),
    ...(energyWh === null ? {} : { energy_wh: energyWh }),
    ...(sealed ? { sealed: true } : {}),
    status,
    finish_reason,
    error,
    ...(caller === undefined ? {} : { caller }),
    commitments,
  };
}
