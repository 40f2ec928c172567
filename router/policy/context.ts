import type { Fleet } from "./fleet.ts";
import { chooseTool } from "./tools.ts";
import type { DecisionContext, Policy, RouteRequest } from "./types.ts";

/** Level one, and all that level two looks at beside the job and the nodes. */
export function contextFor(request: RouteRequest, fleet: Fleet, policy: Policy, nowMs: number): DecisionContext {
  const tool = chooseTool(request);
  const strategy = policy.strategyAt(nowMs);
  const local = tool.data_residency === "local_only" || strategy === "local_only";
  return {
    policy,
    nowMs,
    liveRouters: fleet.liveRouters,
    tool,
    layers: local ? policy.layers.local : policy.layers.any,
    inTimeOnly: false,
    strategy,
    weights: policy.weightsByTask.get(request.taskType) ?? policy.routing.scoring_weights,
    qualities: fleet.qualities.get(request.taskType),
    home: undefined,
    diagnosticAllowed: false,
  };
}
