import { MeshError, checkPolicy, fieldPath, type RoutingConfig } from "../../bus-schemas/index.ts";
import { strategyClock } from "./strategy.ts";
import type { Policy } from "./types.ts";

/**
 * Checks what a schema cannot, and prepares lookups.
 * @param revision names the policy in decisions
 * @param textSha256 of the text that `config` was read from
 * @throws MeshError `bad_config` naming the field, as when weights do not sum to 1.
 */
export function compilePolicy(config: RoutingConfig, revision: string, textSha256: string | null = null): Policy {
  const problem = checkPolicy(config);
  if (problem !== undefined) {
    const field = fieldPath(problem.path);
    throw new MeshError("bad_config", `${field}: ${problem.message}`, { field });
  }
  const { routing_policy: routing, deployment } = config;
  const { default_level: ofDeployment, cloud_forbidden: cloudForbidden } = deployment.security_policy;
  const level = routing.default_level ?? ofDeployment;
  const order = [...new Set(routing.defaults.fallback_order)];
  const local = order.filter((layer) => layer !== "L2");
  return {
    revision,
    textSha256,
    routing: level === undefined ? routing : { ...routing, default_level: level },
    models: new Map(Object.entries(config.models)),
    layers: { any: cloudForbidden ? local : order, local },
    cloudForbidden,
    weightsByTask: new Map(Object.entries(routing.scoring_weights_by_task)),
    strategyAt: strategyClock(deployment.routing_strategy),
    electricityUsdPerKwh: deployment.electricity_usd_per_kwh,
  };
}
