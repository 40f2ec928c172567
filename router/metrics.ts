import type { Metrics } from "../service/metrics.ts";

/** What a router counts. */
export function routerMetrics(metrics: Metrics) {
  return {
    decisions: metrics.counter("decisions_total", "Decisions", ["outcome", "class"]),
    dispatches: metrics.counter("dispatches_total", "Jobs sent to a node, repeats included"),
    redispatches: metrics.counter("redispatches_total", "Jobs that went to another node, or had none left", ["code"]),
    hedges: metrics.counter("hedges_total", "Jobs that were given to a second node because the first told nothing yet"),
    endings: metrics.counter("router_endings_total", "Jobs that a router ended itself", ["status", "code"]),
    waiting: metrics.gauge("waiting_jobs", "Jobs that wait in the router for a free node", ["queue"]),
    waited: metrics.seconds("waited", "How long a job waited in the router, and how that ended", ["queue", "how"]),
    shed: metrics.counter("shed_total", "Jobs that were sent away because they waited too long, or too many did", [
      "queue",
    ]),
    overBudget: metrics.counter("retries_over_budget_total", "Jobs that ended because the retry budget was spent"),
    accept: metrics.seconds("accept", "From dispatch to the node's acceptance"),
  };
}

export type RouterMetrics = ReturnType<typeof routerMetrics>;
