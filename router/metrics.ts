import type { Metrics } from "../service/metrics.ts";

/** What a router counts. */
export function routerMetrics(metrics: Metrics) {
  return {
    decisions: metrics.counter("decisions_total", "Decisions", ["outcome", "class"]),
    dispatches: metrics.counter("dispatches_total", "Jobs sent to a node, repeats included"),
    redispatches: metrics.counter("redispatches_total", "Jobs that went to another node, or had none left", ["code"]),
    endings: metrics.counter("router_endings_total", "Jobs that a router ended itself", ["status", "code"]),
    accept: metrics.seconds("accept", "From dispatch to the node's acceptance"),
  };
}

export type RouterMetrics = ReturnType<typeof routerMetrics>;
