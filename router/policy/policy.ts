import { MeshError, type RoutingConfig } from "../../bus-schemas/index.ts";
import type { Policy } from "./types.ts";

/** Weights may miss 1 by rounding only. */
const WEIGHT_TOLERANCE = 1e-6;

/** @throws MeshError `bad_config` when the weights do not sum to 1. */
export function compilePolicy(config: RoutingConfig, revision: string): Policy {
  const { security, capability, latency, cost } = config.routing_policy.scoring_weights;
  const sum = security + capability + latency + cost;
  if (Math.abs(sum - 1) > WEIGHT_TOLERANCE) {
    const field = "routing_policy.scoring_weights";
    throw new MeshError("bad_config", `${field}: the weights sum to ${sum}, not 1`, { field });
  }
  return { revision, routing: config.routing_policy, models: new Map(Object.entries(config.models)) };
}
