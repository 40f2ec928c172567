import { MeshError, type RoutingConfig } from "../../bus-schemas/index.ts";
import type { Policy } from "./types.ts";

/** Weights may miss 1 by rounding only. */
const WEIGHT_TOLERANCE = 1e-6;

/**
 * Checks what a schema cannot, and prepares lookups.
 * @param revision names the policy in decisions
 * @throws MeshError `bad_config` when the weights do not sum to 1.
 */
export function compilePolicy(config: RoutingConfig, revision: string): Policy {
  const { security, capability, latency, cost } = config.routing_policy.scoring_weights;
  const sum = security + capability + latency + cost;
  if (Math.abs(sum - 1) > WEIGHT_TOLERANCE) {
    const field = "routing_policy.scoring_weights";
    throw new MeshError("bad_config", `${field}: the weights sum to ${Number(sum.toFixed(6))}, not 1`, { field });
  }
  const order = [...new Set(config.routing_policy.defaults.fallback_order)];
  return {
    revision,
    routing: config.routing_policy,
    models: new Map(Object.entries(config.models)),
    layers: { any: order, local: order.filter((layer) => layer !== "L2") },
  };
}
