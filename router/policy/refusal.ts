import { MeshError } from "../../bus-schemas/index.ts";
import type { Fleet } from "./fleet.ts";
import { predict, slotsOf } from "./predict.ts";
import { FILTERS } from "./filters/index.ts";
import { rejection } from "./reject.ts";
import type { DecisionContext, Option, RouteRequest } from "./types.ts";

/** Shortest and longest time after which a caller is told to try again, milliseconds. */
const RETRY_MS = { least: 250, most: 60_000 };
/** After this time new or healthy nodes may have been heard: two heartbeats, milliseconds. */
const NEXT_HEARTBEAT_MS = 2000;

/** Why no node takes the job, by the reason that its caller can do most about, and what that is. */
export function refusal(
  request: RouteRequest,
  fleet: Fleet,
  context: DecisionContext,
  rejectedBy: Readonly<Record<string, number>>,
): MeshError {
  const { model, dataClass } = request;
  if (fleet.optionCount === 0) {
    const message = "no node serves a model yet; see `tiermesh nodes`";
    return new MeshError("no_node", message, { retryAfterMs: NEXT_HEARTBEAT_MS });
  }
  if (model !== undefined && !fleet.serves(model)) {
    const message = `no node serves the model ${model.slice(0, 100)}; \`GET /v1/models\` lists what there is`;
    return new MeshError("model_not_found", message, { field: "model" });
  }
  if (rejectedBy["encryption"] !== undefined && !request.encrypted) {
    const ways = "MeshClient, the HTTP gateway and `tiermesh submit` seal by themselves, docs/security.md says how";
    return new MeshError("encryption_required", `${dataClass} jobs are taken only sealed to their node: ${ways}`);
  }
  const full = rejectedBy["capacity"];
  if (full !== undefined) {
    const retryAfterMs = soonestMs(request, fleet, context);
    return new MeshError("all_busy", `every node that could take the job is full (${full})`, { retryAfterMs });
  }
  if (rejectedBy["deadline"] !== undefined) {
    const when = request.batch ? "end" : "begin to answer";
    return new MeshError("deadline_exceeded", `no node would ${when} before the deadline`, { field: "timeout_ms" });
  }
  if (!homeMayHelp(request, fleet, context) && anonymisingWouldHelp(request, fleet, context)) {
    return new MeshError("anonymiser_required", "only cloud nodes can take this P1 job, and it is not anonymised");
  }
  // In an order that does not hang on the fleet's, so that a replay says the same.
  const filters = Object.keys(rejectedBy).toSorted((a, b) => (a < b ? -1 : 1));
  const said = filters.map((filter) => `${filter} ${rejectedBy[filter]}`);
  return new MeshError("no_node", `no node can take this ${dataClass} job; removed by: ${said.join(", ")}`, {
    retryAfterMs: NEXT_HEARTBEAT_MS,
  });
}

/** Filters whose reason passes by itself: the node is ill or not heard for the moment, or has had its try. */
const PASSING: ReadonlySet<string> = new Set(["health", "lease", "outlier", "temperature", "tried"]);

/** A node at home could take it and only cannot now: then its caller is to try again, not to look for an anonymiser. */
function homeMayHelp(request: RouteRequest, fleet: Fleet, context: DecisionContext): boolean {
  for (const option of fleet.options()) {
    const { gone, record } = option.view;
    if (record.layer === "L2") continue;
    // One that is gone from the bus may be back, whatever it said last.
    const lasting = FILTERS.filter(({ name }) => !PASSING.has(name) && !(gone && name === "state"));
    if (lasting.every((filter) => filter.reject(option, request, context) === undefined)) return true;
  }
  return false;
}

function anonymisingWouldHelp(request: RouteRequest, fleet: Fleet, context: DecisionContext): boolean {
  if (request.dataClass !== "P1" || request.anonymised) return false;
  const anonymised = { ...request, anonymised: true };
  for (const place of fleet.pool("L2", request.model)?.places ?? []) {
    if (place.options.some((option) => rejection(option, anonymised, context) === undefined)) return true;
  }
  return false;
}

/** Until one place is free on one of the full nodes. */
function soonestMs(request: RouteRequest, fleet: Fleet, context: DecisionContext): number {
  let soonest = RETRY_MS.most;
  for (const option of fleet.options()) {
    if (rejection(option, request, context)?.filter.name !== "capacity") continue;
    soonest = Math.min(soonest, drainMs(option, request, context));
    if (soonest <= RETRY_MS.least) break;
  }
  return Math.round(Math.max(soonest, RETRY_MS.least));
}

/** One job's time over the slots: a full node ends one job in that time on average. */
function drainMs(option: Option, request: RouteRequest, context: DecisionContext): number {
  const { avg_latency_ms: meanMs } = option.view.record.performance;
  if (meanMs !== null) return meanMs / slotsOf(option.view);
  const { totalMs, ttftMs } = predict(option, request, context);
  return (totalMs - ttftMs) / slotsOf(option.view);
}
