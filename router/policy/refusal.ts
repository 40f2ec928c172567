import { MeshError, type Candidate } from "../../bus-schemas/index.ts";
import { predict } from "./predict.ts";
import type { DecisionContext, Option, RouteRequest } from "./types.ts";

/** Shortest and longest time after which a caller is told to try again, milliseconds. */
const RETRY_MS = { least: 250, most: 60_000 };

/** Why no node takes the job, as the most telling of the filters' reasons, and what the caller can do. */
export function refusal(
  request: RouteRequest,
  options: readonly Option[],
  candidates: readonly Candidate[],
  context: DecisionContext,
): MeshError {
  const by = (filter: string) => candidates.filter(({ rejected }) => rejected?.filter === filter);
  if (candidates.length === 0)
    return new MeshError("no_node", "no node serves a model yet; see `tiermesh nodes`", { retryAfterMs: 2000 });
  if (by("encryption").length > 0) {
    return new MeshError(
      "encryption_required",
      `${request.dataClass} jobs need an encrypted way to the node: seal the job, or reach the bus by TLS`,
    );
  }
  if (request.model !== undefined && !options.some((option) => option.served.name === request.model)) {
    return new MeshError(
      "model_not_found",
      `no node serves the model ${request.model.slice(0, 100)}; \`GET /v1/models\` lists what there is`,
      { field: "model" },
    );
  }
  const full = options.filter((_, i) => candidates[i]?.rejected?.filter === "capacity");
  if (full.length > 0) {
    const retryAfterMs = Math.min(...full.map((option) => drainMs(option, request, context)));
    return new MeshError("all_busy", `every node that could take the job is full (${full.length})`, { retryAfterMs });
  }
  if (by("deadline").length > 0)
    return new MeshError("deadline_exceeded", "no node would begin to answer before the deadline", {
      field: "timeout_ms",
    });
  const onlyCloud = by("data_class");
  if (request.dataClass === "P1" && onlyCloud.length === candidates.length) {
    return new MeshError("anonymiser_required", "only cloud nodes could take this P1 job, and it is not anonymised");
  }
  const counts = new Map<string, number>();
  for (const { rejected } of candidates)
    if (rejected !== null) counts.set(rejected.filter, (counts.get(rejected.filter) ?? 0) + 1);
  const said = [...counts].map(([filter, count]) => `${filter} ${count}`).join(", ");
  return new MeshError("no_node", `no node can take this ${request.dataClass} job; removed by: ${said}`, {
    retryAfterMs: 2000,
  });
}

/** Until one place is free: one job's time over the slots. */
function drainMs(option: Option, request: RouteRequest, context: DecisionContext): number {
  const slots = Math.max(1, option.view.record.load?.slots ?? 1);
  const serviceMs = option.view.record.performance.avg_latency_ms ?? predict(option, request, context).totalMs;
  return Math.round(Math.min(RETRY_MS.most, Math.max(RETRY_MS.least, serviceMs / slots)));
}
