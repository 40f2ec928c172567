import type { RouteFactory } from "./route-def.ts";

/** Prometheus' text format. */
export const metricsRoute: RouteFactory = ({ metrics }) => ({
  method: "GET",
  path: "/metrics",
  handle: async (_request, reply) => {
    const text = await metrics.registry.metrics();
    return reply.header("content-type", metrics.registry.contentType).send(text);
  },
});
