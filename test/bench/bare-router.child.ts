import { RoutingConfig } from "../../bus-schemas/index.ts";
import { Dispatcher } from "../../router/dispatcher.ts";
import { FleetView } from "../../router/fleet-view.ts";
import { routerMetrics } from "../../router/metrics.ts";
import type { RouterParts } from "../../router/parts.ts";
import { compilePolicy } from "../../router/policy/policy.ts";
import { Router } from "../../router/router.ts";
import { Tickets } from "../../router/tickets.ts";
import { connectBus } from "../../service/bus.ts";
import type { EventPublisher } from "../../service/events.ts";
import { createLog } from "../../service/log.ts";
import { Metrics } from "../../service/metrics.ts";
import { Rejections } from "../../service/rejections.ts";
import { addressFromEnv } from "./bus-address.ts";
import { serveParent } from "./child.ts";

/** The router's own classes without their record: what is left to the real router is what the audit costs. */
const log = createLog("bench", "warn");
const bus = await connectBus("bare-router", addressFromEnv(), log);
const policy = compilePolicy(RoutingConfig.parse({}), "bench");
const metrics = new Metrics("router");
let count = 0;
const unrecorded = {
  record: () => ({ id: `unrecorded-${count++}`, durable: Promise.resolve() }),
} as unknown as EventPublisher;
const fleet = new FleetView(unrecorded);
const rejections = new Rejections("router", unrecorded, metrics, log);
fleet.start(bus, rejections);
const parts: RouterParts = {
  id: "bare",
  bus,
  fleet,
  events: unrecorded,
  rejections,
  metrics: routerMetrics(metrics),
  log,
  policy: () => policy,
  random: Math.random,
};
const dispatcher = new Dispatcher(parts);
dispatcher.start();
new Router(parts, dispatcher, new Tickets(parts, dispatcher)).start();
await bus.nc.flush();
serveParent();
