import type { Metrics } from "../service/metrics.ts";

/** What the gateway counts. Labels are route patterns, methods and status codes: never a path, a model or a key. */
export function gatewayMetrics(metrics: Metrics) {
  return {
    requests: metrics.counter("http_requests_total", "HTTP requests by route and status; 499 = the caller left", [
      "route",
      "method",
      "status",
    ]),
    duration: metrics.seconds("http_request", "From the request's head to the end of its answer", ["route"]),
    firstChunk: metrics.seconds("http_first_chunk", "From the request's head to the first piece of a streamed answer"),
    stalled: metrics.counter(
      "http_stalled_readers_total",
      "Streams ended because their reader took nothing for too long",
    ),
  };
}
export type GatewayMetrics = ReturnType<typeof gatewayMetrics>;
