import type { AddressInfo } from "node:net";
import { MeshError } from "../bus-schemas/index.ts";
import { MeshClient, SaltKeeper } from "../client/index.ts";
import { connectBus } from "../service/bus.ts";
import { busAddressOf, loadConfig } from "../service/config.ts";
import { CountReports } from "../service/count-reports.ts";
import { EventPublisher } from "../service/events.ts";
import { hostToken } from "../service/host-token.ts";
import { runProcess } from "../service/lifecycle.ts";
import { createLog } from "../service/log.ts";
import { Metrics, serveHealth } from "../service/metrics.ts";
import { announceService } from "../service/micro.ts";
import { saltsDir, spoolDir } from "../service/paths.ts";
import { announceReady } from "../service/ready.ts";
import { Spool } from "../service/spool.ts";
import { GATEWAY_ENV, GatewayConfig } from "./config.ts";
import { CountedMesh } from "./counted-mesh.ts";
import { Exchanges } from "./exchanges.ts";
import { MeshWatch } from "./mesh-watch.ts";
import { gatewayMetrics } from "./metrics.ts";
import { DEFAULT_LIMITS, closeServer, createServer } from "./server.ts";

/** Answers in progress get this long to end at an orderly stop, milliseconds. */
const DRAIN_LIMIT_MS = 7000;

const log = createLog("gateway");

runProcess(log, async (lifecycle) => {
  const config = loadConfig(GatewayConfig, GATEWAY_ENV, { env: process.env });
  const { gatewayHost: host, gatewayPort: port } = config;
  const bus = await connectBus("gateway", busAddressOf(config), log, { retry: true });
  const pseudonyms = config.callers === "pseudonym";
  const client = new MeshClient(bus, { salts: new SaltKeeper(saltsDir()), pseudonyms });
  lifecycle.onClose("bus", () => client.close());
  const mesh = new CountedMesh(client);
  const metrics = new Metrics("gateway");
  const name = hostToken();
  const spool = await Spool.open(spoolDir(config.cell), `gateway-${config.gatewayPort}`, log);
  const events = new EventPublisher(bus, "gateway", name, log, spool);
  lifecycle.onClose("events", () => events.close());
  CountReports.start(events, lifecycle, { counts: () => ({ ...mesh.counts }), log });
  const state = new MeshWatch(bus, log);
  lifecycle.onClose("mesh watch", () => state.close());
  const exchanges = new Exchanges();
  // Watching begins now, not at the first request.
  mesh.nodes.list();

  const app = createServer(
    {
      mesh,
      state,
      metrics,
      counters: gatewayMetrics(metrics),
      exchanges,
      limits: DEFAULT_LIMITS,
      log,
      nowMs: Date.now,
    },
    () => lifecycle.state !== "running",
  );
  lifecycle.onClose("http server", () => closeServer(app, exchanges, DRAIN_LIMIT_MS));
  try {
    await app.listen({ host, port });
  } catch (error) {
    const { code } = error as { code?: string };
    if (code !== "EADDRINUSE") throw error;
    throw new MeshError("bad_config", `${host}:${port} is in use; set TIERMESH_GATEWAY_PORT to another port`, {
      field: "gatewayPort",
      cause: error,
    });
  }
  const { port: listening } = app.server.address() as AddressInfo;

  const healthPort = await serveHealth(
    {
      host: "127.0.0.1",
      port: config.healthPort,
      metrics,
      health: () => ({
        ok: state.busConnected,
        bus: state.busConnected,
        routers: state.routers,
        in_flight: exchanges.size,
      }),
    },
    lifecycle,
  );
  const service = await announceService(bus, "gateway", "HTTP: OpenAI-compatible API, /route, /health", [], {
    url: `http://${host}:${listening}`,
  });
  lifecycle.onClose("announcement", async () => void (await service.stop()));
  log.info({ host, port: listening }, "gateway listens");
  announceReady("gateway", { health_port: healthPort, host, port: listening });
});
