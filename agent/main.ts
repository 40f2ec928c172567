import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { connectBus } from "../service/bus.ts";
import { busAddressOf } from "../service/config.ts";
import { CountReports } from "../service/count-reports.ts";
import { EventPublisher } from "../service/events.ts";
import { createLog } from "../service/log.ts";
import { newId } from "../service/ids.ts";
import { recordKey } from "../service/key-record.ts";
import { runProcess } from "../service/lifecycle.ts";
import { Metrics, serveHealth } from "../service/metrics.ts";
import { cacheDir, spoolDir, stateDir } from "../service/paths.ts";
import { announceReady } from "../service/ready.ts";
import { Rejections } from "../service/rejections.ts";
import { Spool } from "../service/spool.ts";
import { serveStructures } from "../service/structures-exchange.ts";
import { within } from "../service/within.ts";
import { announceAgent } from "./announce.ts";
import { onReconnect, reviveBus } from "./bus-care.ts";
import { agentConfig } from "./config.ts";
import { serveControl } from "./control.ts";
import { Description } from "./description.ts";
import { egressOf } from "./egress/when-wanted.ts";
import { keepIfWanted } from "./embedded-wanted.ts";
import { Healing } from "./healing.ts";
import { healthOf } from "./health.ts";
import { untilLetIn } from "./invitation.ts";
import { KeepWarm } from "./keep-warm.ts";
import { ModelOrders } from "./model-orders.ts";
import { onlyOne } from "./only-one.ts";
import { HEARTBEAT_EVERY_MS, Heartbeat } from "./heartbeat.ts";
import { Intake } from "./intake.ts";
import { serveLocalControl } from "./local-control/server.ts";
import { companyFile, loadManners } from "./manners/load.ts";
import { slotsOf } from "./manners/slots.ts";
import { startManners } from "./manners/start.ts";
import { startProbes } from "./probes/start.ts";
import { RuntimeDesk } from "./runtime-desk.ts";
import { EnergyMeter } from "./model/energy.ts";
import { asMember } from "./membership.ts";
import { NodeKeys } from "./sealing/node-keys.ts";
import { startKeyRotation } from "./sealing/rotate-keys.ts";
import { RouterKeys } from "./sealing/router-keys.ts";
import { SealedIntake } from "./sealing/sealed-intake.ts";
import { ClockWatch } from "./sleep/clock-watch.ts";
import { howToWake } from "./sleep/how-to-wake.ts";
import { NetworkList } from "./sleep/network-list.ts";
import { Sleep } from "./sleep/sleep.ts";
import { followSystemSleep, tellsBeforeSleep } from "./sleep/system-sleep.ts";
import { serveWakeNeighbour } from "./sleep/wake-neighbour.ts";
import { Stance } from "./stance.ts";
import { upgraderOf } from "./upgrade/start.ts";
import { WorkThread } from "./work/work-thread.ts";

/** The first heartbeat waits this long at most for probes and runtimes, milliseconds. */
const FIRST_LOOK_LIMIT_MS = 1500;
/** Running jobs get this long to end at an orderly stop, milliseconds. */
const DRAIN_LIMIT_MS = 7000;
/** Before a sleep running jobs get this long to end, milliseconds: systemd waits 5 s for all of it. */
const SLEEP_DRAIN_MS = 1500;
const GOODBYE_LIMIT_MS = 1000;

const log = createLog("agent");

runProcess(log, async (lifecycle) => {
  const { env } = process;
  const dirs = { stateDir: stateDir({ env }), cacheDir: cacheDir({ env }) };
  await untilLetIn(dirs.stateDir, log, lifecycle.signal);
  const config = agentConfig(asMember(env, dirs.stateDir), dirs);
  const { nodeId, layer, costFactor } = config;
  const loaded = loadManners(config, companyFile(env));
  // Before any thread or child process starts: they inherit the environment.
  const cloud = await egressOf(config, env, log);
  const nodeDir = join(config.stateDir, "agent", nodeId);
  mkdirSync(nodeDir, { recursive: true, mode: 0o700 });
  const lock = await onlyOne({ nodeDir, nodeId, log }, lifecycle.signal);
  lifecycle.onClose("lock", () => lock.release());

  const bus = await connectBus(`agent-${nodeId}`, busAddressOf(config), log, { retry: true });
  lifecycle.onClose("bus", () => bus.drain());
  serveStructures(bus);
  const metrics = new Metrics("agent", { loopDelay: false });
  const endings = metrics.counter("jobs_ended_total", "Jobs that ended on this node", ["status"]);
  const spool = await Spool.open(spoolDir(config.cell, { env }), `agent-${nodeId}`, log);
  const events = new EventPublisher(bus, "agent", nodeId, log, spool);
  lifecycle.onClose("events", () => events.close());
  const rejections = new Rejections("agent", events, metrics, log);
  lifecycle.onClose("rejections", () => rejections.close());

  const routerKeys = new RouterKeys(rejections);
  routerKeys.start(bus);
  const probes = startProbes({ stateDir: nodeDir, cacheDir: config.cacheDir, signal: lifecycle.signal });
  lifecycle.onClose("probes", () => probes.stop());
  // What a provider's machines take for a job is not this machine's to say.
  const energy = cloud === undefined ? new EnergyMeter(() => performance.now()) : undefined;
  probes.onChange(() => energy?.sample(probes.current()));
  const desk = new RuntimeDesk(
    () => work,
    (record) => slotsOf(record, loaded.slots, loaded.limits.max_slots),
  );
  let firstLook = () => {};
  /** From the first heartbeat on, a change that routers choose by is told at once. */
  let beatNow = () => {};
  const looked = new Promise<void>((resolve) => (firstLook = resolve));
  const healing = new Healing({
    loaded,
    nodeId,
    nodeDir,
    env,
    probes,
    desk,
    egress: cloud !== undefined,
    events,
    tell: () => beatNow(),
    log,
    signal: lifecycle.signal,
  });
  const { gpus, machine, supervision } = healing;
  const work: WorkThread = new WorkThread(
    { endpoints: healing.endpoints(config.runtimes), loopback: config.loopback, egress: cloud?.egress },
    (runtimes) => {
      if (healing.heard(runtimes)) beatNow();
      keepWarm.look();
      firstLook();
    },
    log,
    { env: cloud?.workEnv },
  );
  lifecycle.onClose("work thread", () => work.close());
  // Not by the lifecycle's signal: running jobs still need their runtimes while the node drains.
  lifecycle.onClose("managed runtimes", () => supervision.stop());
  const embedded = new AbortController();
  let embeddedEnded: Promise<void> | undefined;
  lifecycle.onClose("embedded runtime", async () => {
    embedded.abort();
    await embeddedEnded;
  });

  const manners = startManners({
    loaded,
    nodeDir,
    probes: machine,
    desk,
    tell: () => beatNow(),
    log,
    signal: lifecycle.signal,
  });
  const stance = new Stance(
    join(nodeDir, "stance.json"),
    () => work.problem ?? healing.problem,
    () => manners.closed(),
  );
  let probed = false;
  void probes.first.then(() => (probed = true));
  const orders = new ModelOrders({ work, fleet: desk, notNow: (action) => manners.notNow(action) });
  const keepWarm = new KeepWarm({
    wanted: config.keepWarm,
    orders,
    fleet: desk,
    hardware: () => machine.current(),
    reservedGb: loaded.limits.reserved_vram_gb,
    // Before the first probes it is not known what there is room for.
    closedBecause: () => (probed ? stance.closedBecause : "the probes have not run yet"),
    log,
    nowMs: () => performance.now(),
    signal: lifecycle.signal,
  });
  const bootId = newId();
  const description = new Description(join(nodeDir, "description.json"));
  const sealKeys = new NodeKeys(config.sealKeyHours * 3_600_000, Date.now, (key, previous) =>
    recordKey({ events, log }, { role: "node_sealing", node_id: nodeId, router_id: null }, key, previous),
  );
  const rotateKeys = await startKeyRotation(sealKeys, config.sealKeyHours, log, lifecycle.signal);
  const networks = new NetworkList(() => performance.now());
  const heartbeat = new Heartbeat({
    bus,
    nodeId,
    bootId,
    sealKeys: () => sealKeys.announced,
    layer,
    costFactor,
    jurisdiction: loaded.jurisdiction,
    stance,
    profile: loaded.profile,
    description,
    desk,
    hardware: () => machine.current(),
    networks: () => networks.look(),
    sleep: () => sleep.look(),
    log,
  });
  const intake = new Intake({
    nodeId,
    layer,
    bus,
    events,
    rejections,
    log,
    desk,
    closedBecause: () => sleep.closedBecause ?? stance.closedBecause,
    load: () => desk.load(),
    noRoomFor: (model) => manners.noRoomFor(model),
    energy,
    onEnded: (job, ended) => {
      desk.release(job);
      heartbeat.onEnded(ended);
      endings.inc({ status: ended.status });
    },
  });
  const sealed = new SealedIntake({
    nodeId,
    layer,
    bootId,
    bus,
    keys: sealKeys,
    routers: routerKeys,
    intake,
    load: () => desk.load(),
    rejections,
    log,
    nowMs: Date.now,
  });
  const heartbeatNow = () => heartbeat.send();
  const sleep: Sleep = new Sleep({
    watch: new ClockWatch(HEARTBEAT_EVERY_MS),
    // What it would not take awake, it is not woken for.
    howToWake: async () => ({ ...(await howToWake()), closed_because: stance.closedBecause?.slice(0, 200) ?? null }),
    sayGoodbye: async () => {
      heartbeatNow();
      // What would end in time does; the rest goes on elsewhere, for nobody knows for how long this machine sleeps.
      await intake.drain(SLEEP_DRAIN_MS);
      await within(bus.nc.flush(), GOODBYE_LIMIT_MS);
    },
    onAwake: () => {
      rotateKeys();
      networks.forget();
      intake.catchUp();
      void reviveBus(bus);
    },
    onClockSet: () => rotateKeys(),
    steadyMs: () => performance.now(),
    log,
  });
  if (tellsBeforeSleep()) void followSystemSleep({ onSleep: () => sleep.fallAsleep(), env }, lifecycle.signal);
  serveWakeNeighbour({ bus, nodeId, rejections, log, nowMs: () => performance.now() });
  const upgrader = upgraderOf({ bus, nodeId, stateDir: config.stateDir, env, events, log, signal: lifecycle.signal });
  serveControl({
    bus,
    nodeId,
    stance,
    desk,
    orders,
    supervision,
    gpus,
    description,
    upgrader,
    events,
    rejections,
    heartbeatNow,
    signal: lifecycle.signal,
  });
  const self = { nodeDir, nodeId, layer, loaded };
  const local = await serveLocalControl({ env, ...self, manners, stance, desk, bus, events, log });
  lifecycle.onClose("local control", () => local.close());
  // A hung tool may keep a probe for a while; the node joins without its numbers then.
  await Promise.all([within(probes.first, FIRST_LOOK_LIMIT_MS), within(looked, FIRST_LOOK_LIMIT_MS)]);
  // First the heartbeat with our new boot id, then the ears for jobs: routers must not take a job that we accept for one
  // that was lost with our former life.
  const loop = heartbeat.start(lifecycle.signal);
  beatNow = () => heartbeat.send();
  const counts = () => ({ started: intake.started, provider_requests: desk.requestsSent });
  CountReports.start(events, lifecycle, { bootId, counts, log });
  intake.start();
  sealed.start();
  void onReconnect(bus, () => {
    // Known again at once, and in this order: routers then say what of our jobs went on elsewhere.
    beatNow();
    intake.catchUp();
  });
  lifecycle.onClose("jobs", async () => {
    beatNow = () => {};
    await loop.stop();
    stance.leave();
    heartbeat.send();
    await intake.drain(DRAIN_LIMIT_MS);
  });

  if (cloud === undefined) embeddedEnded = keepIfWanted({ config, env, log, desk, work, supervision }, embedded.signal);
  await announceAgent(bus, nodeId, layer, lifecycle);
  const health = healthOf({ bus, work, nodeId, stance, intake, gpus, probes });
  const healthPort = await serveHealth({ host: "127.0.0.1", port: config.healthPort, metrics, health }, lifecycle);
  announceReady("agent", { health_port: healthPort, node_id: nodeId, layer });
});
