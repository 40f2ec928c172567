import { z } from "zod";
import { ROUTER_QUEUE_GROUP } from "../bus-schemas/index.ts";
import { newId } from "../service/ids.ts";
import { connectBus } from "../service/bus.ts";
import { BASE_ENV, BaseConfig, busAddressOf, loadConfig } from "../service/config.ts";
import { CountReports } from "../service/count-reports.ts";
import { EventPublisher } from "../service/events.ts";
import { runProcess } from "../service/lifecycle.ts";
import { createLog } from "../service/log.ts";
import { startLoop } from "../service/loop.ts";
import { Metrics, serveHealth } from "../service/metrics.ts";
import { announceService } from "../service/micro.ts";
import { spoolDir } from "../service/paths.ts";
import { announceReady } from "../service/ready.ts";
import { Rejections } from "../service/rejections.ts";
import { Spool } from "../service/spool.ts";
import { PolicyBucket } from "../service/policy-bucket.ts";
import { QualityBucket } from "../service/quality-bucket.ts";
import { openSleepBucket } from "../service/sleep-bucket.ts";
import { readRoutingConfig } from "../service/routing-config.ts";
import { serveStructures } from "../service/structures-exchange.ts";
import { Dispatcher } from "./dispatcher.ts";
import { DurableJobs } from "./durable/index.ts";
import { FleetView } from "./fleet-view.ts";
import { listenFirst } from "./listen-first.ts";
import { routerMetrics } from "./metrics.ts";
import type { RouterParts } from "./parts.ts";
import { PolicyKeeper } from "./policy-keeper.ts";
import { QualityFollower } from "./quality-follower.ts";
import { Router } from "./router.ts";
import { sweepsOf } from "./sweeps.ts";
import { Tickets } from "./tickets.ts";
import { Sleepers } from "./wake/sleepers.ts";
import { WakeDesk } from "./wake/wake-desk.ts";
import { Wakes } from "./wake/wakes.ts";

const RouterConfig = BaseConfig.extend({
  /** Unique among the live routers of a cell. */
  routerId: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, "letters, digits, _ and -, 1 to 64 characters"),
  routingConfigPath: z.string().min(1),
  /** What durable jobs answered can be asked for this long, hours. */
  resultHours: z.coerce.number().min(0.01).max(720).default(24),
});

const log = createLog("router");

runProcess(log, async (lifecycle) => {
  const config = loadConfig(
    RouterConfig,
    {
      ...BASE_ENV,
      routerId: "TIERMESH_ROUTER_ID",
      routingConfigPath: "ROUTING_CONFIG_PATH",
      resultHours: "TIERMESH_RESULT_HOURS",
    },
    { env: process.env, file: { routerId: `router-${newId().slice(-8)}` }, fileName: "defaults" },
  );
  const file = { ...readRoutingConfig(config.routingConfigPath), path: config.routingConfigPath };

  const bus = await connectBus(config.routerId, busAddressOf(config), log, { retry: true });
  lifecycle.onClose("bus", () => bus.drain());
  serveStructures(bus);
  const metrics = new Metrics("router");
  const spool = await Spool.open(spoolDir(config.cell), "router", log);
  const events = new EventPublisher(bus, "router", config.routerId, log, spool);
  lifecycle.onClose("events", () => events.close());
  const rejections = new Rejections("router", events, metrics, log);
  lifecycle.onClose("rejections", () => rejections.close());

  const open = () => PolicyBucket.open(bus);
  const keeper = new PolicyKeeper({ routerId: config.routerId, open, file, events, log });
  await keeper.start();
  const following = keeper.follow(lifecycle.signal);
  lifecycle.onClose("policy", () => following.stop());

  const fleet = new FleetView(events);
  fleet.start(bus, rejections);
  const qualities = new QualityFollower({
    open: () => QualityBucket.open(bus),
    take: (table) => (fleet.fleet.qualities = table),
    events,
    rejections,
    log,
  });
  const followingQuality = qualities.follow(lifecycle.signal);
  lifecycle.onClose("quality", () => followingQuality.stop());
  // A restarted router must not read verdicts meant for its former self.
  const id = `${config.routerId.slice(0, 50)}-${newId().slice(-8)}`;
  const policy = () => keeper.policy;
  const sleepers = new Sleepers({ open: () => openSleepBucket(bus), fleet, log });
  const wakes = new Wakes({ id: config.routerId, bus, fleet, events, log, policy, sleepers });
  wakes.start();
  const followingSleepers = sleepers.follow(lifecycle.signal);
  lifecycle.onClose("sleepers", () => followingSleepers.stop());
  const wakeDesk = new WakeDesk({ bus, fleet, sleepers, wakes, rejections });
  const parts: RouterParts = {
    id,
    bus,
    fleet,
    events,
    rejections,
    metrics: routerMetrics(metrics),
    log,
    policy,
    random: Math.random,
    wakes,
  };
  const dispatcher = new Dispatcher(parts);
  const tickets = new Tickets(parts, dispatcher);
  const durable = await DurableJobs.open(parts, dispatcher, config.resultHours * 3_600_000);
  const router = new Router(parts, dispatcher, tickets, durable);
  // Before the first announcement, which must come back here.
  dispatcher.caps.join(tickets.id, () => tickets.announce());
  const onError = (error: unknown) => log.error({ err: error }, "a sweep failed");
  const sweeps = sweepsOf(dispatcher, tickets, fleet, wakes).map(({ run, ...sweep }) =>
    startLoop({ ...sweep, onError }, run, lifecycle.signal),
  );
  lifecycle.onClose("sweeps", async () => {
    await Promise.all(sweeps.map((sweep) => sweep.stop()));
  });

  CountReports.start(events, lifecycle, { counts: () => ({ dispatched: dispatcher.dispatched }), log });
  await listenFirst(dispatcher.caps, lifecycle.signal);
  dispatcher.start();
  tickets.start();
  router.start();
  durable.start();
  wakeDesk.start(lifecycle.signal);
  lifecycle.onClose("jobs", async () => {
    wakes.stop();
    await Promise.all([router.stop(), wakeDesk.stop()]);
    await durable.stop();
    await dispatcher.drain();
    dispatcher.caps.leave();
  });
  const { stats } = router;
  const endpoints = [
    { name: "submit", subject: bus.subjects.submits, queue: ROUTER_QUEUE_GROUP, stats: () => stats.submit },
    { name: "route", subject: bus.subjects.route, queue: ROUTER_QUEUE_GROUP, stats: () => stats.route },
  ];
  const service = await announceService(bus, "router", "Decides where jobs go and sends them there", endpoints, {
    // Cells may share a broker.
    prefix: bus.subjects.prefix,
    router_id: config.routerId,
    // Asked for anew by each answer: `tiermesh policy show` reads it.
    get policy() {
      return keeper.policy.revision;
    },
  });
  lifecycle.onClose("announcement", async () => void (await service.stop()));
  const health = () => ({
    ok: bus.connected(),
    router_id: config.routerId,
    nodes_ready: fleet.readyCount,
    ...dispatcher.inFlight,
    ...tickets.inFlight,
    ...durable.inFlight,
    in_line: dispatcher.line.size,
    policy: keeper.policy.revision,
  });
  const healthPort = await serveHealth({ host: "127.0.0.1", port: config.healthPort, metrics, health }, lifecycle);
  announceReady("router", { health_port: healthPort, router_id: config.routerId });
});
