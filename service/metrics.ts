import type { AddressInfo } from "node:net";
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";
import type { Lifecycle } from "./lifecycle.ts";
import { plainHttp } from "./plain-http.ts";

/** Seconds; from a router's forwarding to a long answer. */
const LATENCY_BUCKETS_S = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** The library cannot be told not to sample the loop; a sample that is due in 24 days costs nothing. Milliseconds. */
const NEVER_MS = 2 ** 31 - 1;
const SAMPLED_LAG = /^nodejs_eventloop_lag_(min|max|mean|stddev|p\d+)_seconds$/;

/** The metrics of one process, in Prometheus' text format. Labels are names and codes, never content. */
export class Metrics {
  readonly registry = new Registry();

  /**
   * @param loopDelay whether it is sampled how late the event loop is: a hundred wake-ups a second, which a process that mostly
   * waits should not cost. Without it there is only what `nodejs_eventloop_lag_seconds` measures when somebody asks.
   */
  constructor(process: string, { loopDelay = true }: { loopDelay?: boolean } = {}) {
    this.registry.setDefaultLabels({ process });
    collectDefaultMetrics({
      register: this.registry,
      ...(loopDelay ? {} : { eventLoopMonitoringPrecision: NEVER_MS }),
    });
    if (loopDelay) return;
    for (const { name } of this.registry.getMetricsAsArray())
      if (SAMPLED_LAG.test(name)) this.registry.removeSingleMetric(name);
  }

  counter<L extends string>(name: string, help: string, labelNames: readonly L[] = []): Counter<L> {
    return new Counter({ name: `tiermesh_${name}`, help, labelNames, registers: [this.registry] });
  }

  gauge<L extends string>(name: string, help: string, labelNames: readonly L[] = []): Gauge<L> {
    return new Gauge({ name: `tiermesh_${name}`, help, labelNames, registers: [this.registry] });
  }

  /** A histogram of seconds. */
  seconds<L extends string>(name: string, help: string, labelNames: readonly L[] = []): Histogram<L> {
    return new Histogram({
      name: `tiermesh_${name}_seconds`,
      help,
      labelNames,
      buckets: LATENCY_BUCKETS_S,
      registers: [this.registry],
    });
  }
}

/** What `GET /health` says: `ok` false answers 503. */
export type Health = () => { ok: boolean; [detail: string]: unknown };

/**
 * Serves `GET /health` and `GET /metrics` of one process.
 * @returns the port it listens on (`port` 0 picks a free one).
 */
export async function serveHealth(
  options: { host: string; port: number; metrics: Metrics; health: Health },
  lifecycle: Lifecycle,
): Promise<number> {
  const { host, port, metrics, health } = options;
  const server = plainHttp.createServer((request, response) => {
    void (async () => {
      if (request.method !== "GET") return response.writeHead(405).end();
      if (request.url === "/metrics") {
        const text = await metrics.registry.metrics();
        return response.writeHead(200, { "content-type": metrics.registry.contentType }).end(text);
      }
      if (request.url !== "/health") return response.writeHead(404).end();
      const state = { ...health(), state: lifecycle.state };
      return response
        .writeHead(state.ok && lifecycle.state === "running" ? 200 : 503, { "content-type": "application/json" })
        .end(JSON.stringify(state));
    })().catch(() => response.writeHead(500).end());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  lifecycle.onClose("health server", () => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    // Scrapers keep idle connections open; waiting for them would hold up the stop.
    server.closeAllConnections();
    return closed;
  });
  return (server.address() as AddressInfo).port;
}
