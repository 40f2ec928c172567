import type { AddressInfo } from "node:net";
import { Exchanges } from "../../gateway/exchanges.ts";
import type { Mesh, MeshState } from "../../gateway/mesh.ts";
import { gatewayMetrics } from "../../gateway/metrics.ts";
import type { GatewayLimits } from "../../gateway/parts.ts";
import { DEFAULT_LIMITS, closeServer, createServer } from "../../gateway/server.ts";
import { createLog } from "../../service/log.ts";
import { Metrics } from "../../service/metrics.ts";

/** The gateway's real HTTP server on a free port, over any mesh. */
export async function startGateway(mesh: Mesh, options: { limits?: Partial<GatewayLimits>; state?: MeshState } = {}) {
  const metrics = new Metrics("gateway");
  const exchanges = new Exchanges();
  const state = options.state ?? { busConnected: true, routers: 1 };
  let draining = false;
  const parts = {
    mesh,
    state,
    metrics,
    counters: gatewayMetrics(metrics),
    exchanges,
    limits: { ...DEFAULT_LIMITS, ...options.limits },
    log: createLog("test", "silent"),
    nowMs: Date.now,
  };
  const app = createServer(parts, () => draining);
  await app.listen({ host: "127.0.0.1", port: 0 });
  const { port } = app.server.address() as AddressInfo;
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    exchanges,
    metric: (name: string) => metrics.registry.getSingleMetricAsString(`tiermesh_${name}`),
    /** As the process does when it is told to stop. */
    stop: (limitMs: number) => {
      draining = true;
      return closeServer(app, exchanges, limitMs);
    },
    [Symbol.asyncDispose]: () => closeServer(app, exchanges, 0),
  };
}
