import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { connectBus, type Bus } from "../service/bus.ts";
import { busAddressOf } from "../service/config.ts";
import { EventPublisher } from "../service/events.ts";
import { createLog } from "../service/log.ts";
import { newId } from "../service/ids.ts";
import { runProcess } from "../service/lifecycle.ts";
import { startLoop } from "../service/loop.ts";
import { Metrics, serveHealth } from "../service/metrics.ts";
import { announceService } from "../service/micro.ts";
import { cacheDir, spoolDir, stateDir } from "../service/paths.ts";
import { announceReady } from "../service/ready.ts";
import { Rejections } from "../service/rejections.ts";
import { Spool } from "../service/spool.ts";
import { serveStructures } from "../service/structures-exchange.ts";
import { within } from "../service/within.ts";
import { agentConfig } from "./config.ts";
import { serveControl } from "./control.ts";
import { keepEmbedded } from "./embedded-keeper.ts";
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
import { RouterKeys } from "./sealing/router-keys.ts";
import { SealedIntake } from "./sealing/sealed-intake.ts";
import { ClockWatch } from "./sleep/clock-watch.ts";
import { howToWake } from "./sleep/how-to-wake.ts";
import { Sleep } from "./sleep/sleep.ts";
import { followSystemSleep, tellsBeforeSleep } from "./sleep/system-sleep.ts";
import { Stance } from "./stance.ts";
import { WorkThread } from "./work/work-thread.ts";

/** The first heartbeat waits this long at most for probes and runtimes, milliseconds. */
const FIRST_LOOK_LIMIT_MS = 1500;
/** Running jobs get this long to end at an orderly stop, milliseconds. */
const DRAIN_LIMIT_MS = 7000;
/** Before a sleep running jobs get this long to end, milliseconds: systemd waits 5 s for all of it. */
const SLEEP_DRAIN_MS = 1500;
const GOODBYE_LIMIT_MS = 1000;
/** A bus that does not answer for so long after a sleep has forgotten us, milliseconds. */
const REVIVE_LIMIT_MS = 2000;
/** How often it is looked whether the key for sealed jobs is due, milliseconds: within these bounds a hundredth of its time. */
const SEAL_KEY_LOOK_MS = { least: 500, most: 10_000 };

const log = createLog("agent");

runProcess(log, async (lifecycle) => {
  const { env } = process;
  const dirs = { stateDir: stateDir({ env }), cacheDir: cacheDir({ env }) };
  const config = agentConfig(asMember(env, dirs.stateDir), dirs);
  const { nodeId, layer, costFactor } = config;
  const loaded = loadManners(config, companyFile(env));
  // Before any thread or child process starts: they inherit the environment.
  const cloud = config.providers === undefined ? undefined : await egressOf(config.providers, config.routingConfig);
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
  const work: WorkThread = new WorkThread(
    { endpoints: config.runtimes, loopback: config.loopback, egress: cloud?.egress },
    (runtimes) => {
      if (desk.update(runtimes)) beatNow();
      keepWarm.look();
      firstLook();
    },
    log,
    { env: cloud?.workEnv },
  );
  lifecycle.onClose("work thread", () => work.close());
  // Not the lifecycle's signal: running jobs still need the embedded runtime while the node drains.
  const embedded = new AbortController();
  let embeddedEnded: Promise<void> | undefined;
  lifecycle.onClose("embedded runtime", async () => {
    embedded.abort();
    await embeddedEnded;
  });

  const manners = startManners({
    loaded,
    nodeDir,
    probes,
    desk,
    tell: () => beatNow(),
    log,
    signal: lifecycle.signal,
  });
  const stance = new Stance(
    join(nodeDir, "stance.json"),
    () => work.problem,
    () => manners.closed(),
  );
  let probed = false;
  void probes.first.then(() => (probed = true));
  const orders = new ModelOrders({ work, fleet: desk, notNow: (action) => manners.notNow(action) });
  const keepWarm = new KeepWarm({
    wanted: config.keepWarm,
    orders,
    fleet: desk,
    hardware: () => probes.current(),
    reservedGb: loaded.limits.reserved_vram_gb,
    // Before the first probes it is not known what there is room for.
    closedBecause: () => (probed ? stance.closedBecause : "the probes have not run yet"),
    log,
    nowMs: () => performance.now(),
    signal: lifecycle.signal,
  });
  const bootId = newId();
  const sealKeys = new NodeKeys(config.sealKeyHours * 3_600_000);
  await sealKeys.rotate();
  const sealKeyLookMs = Math.min(SEAL_KEY_LOOK_MS.most, Math.max(SEAL_KEY_LOOK_MS.least, config.sealKeyHours * 36_000));
  const onKeyError = (error: unknown) => log.error({ err: error }, "a new key for sealed jobs could not be made");
  startLoop(
    { name: "seal keys", everyMs: sealKeyLookMs, onError: onKeyError },
    () => sealKeys.rotate(),
    lifecycle.signal,
  );
  const heartbeat = new Heartbeat({
    bus,
    nodeId,
    bootId,
    sealKeys: () => sealKeys.announced,
    layer,
    costFactor,
    stance,
    profile: loaded.profile,
    desk,
    hardware: () => probes.current(),
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
    howToWake: () => howToWake(),
    sayGoodbye: async () => {
      heartbeatNow();
      // What would end in time does; the rest goes on elsewhere, for nobody knows for how long this machine sleeps.
      await intake.drain(SLEEP_DRAIN_MS);
      await within(bus.nc.flush(), GOODBYE_LIMIT_MS);
    },
    onAwake: () => {
      void sealKeys.rotate().catch(onKeyError);
      intake.catchUp();
      void reviveBus(bus);
    },
    onClockSet: () => void sealKeys.rotate().catch(onKeyError),
    steadyMs: () => performance.now(),
    log,
  });
  if (tellsBeforeSleep()) void followSystemSleep({ onSleep: () => sleep.fallAsleep(), env }, lifecycle.signal);
  serveControl({ bus, nodeId, stance, desk, orders, events, rejections, heartbeatNow, signal: lifecycle.signal });
  const self = { nodeDir, nodeId, layer, loaded };
  const local = await serveLocalControl({ env, ...self, manners, stance, desk, bus, events, log });
  lifecycle.onClose("local control", () => local.close());
  // A hung tool may keep a probe for a while; the node joins without its numbers then.
  await Promise.all([within(probes.first, FIRST_LOOK_LIMIT_MS), within(looked, FIRST_LOOK_LIMIT_MS)]);
  // First the heartbeat with our new boot id, then the ears for jobs: routers must not take a job that we accept for one
  // that was lost with our former life.
  const loop = heartbeat.start(lifecycle.signal);
  beatNow = () => heartbeat.send();
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

  const anyRealRuntime = desk.runtimes.some((runtime) => !runtime.diagnostic);
  if (cloud === undefined && (config.embedded === "on" || (config.embedded === "auto" && !anyRealRuntime))) {
    embeddedEnded = keepEmbedded(
      {
        cacheDir: config.cacheDir,
        env,
        log,
        onEndpoint: (endpoint) => {
          work.setEmbedded(endpoint);
          if (endpoint !== undefined && !config.loopback) work.setLoopback(false);
        },
        onUnavailable: () => work.setLoopback(true),
      },
      embedded.signal,
    );
  }
  const service = await announceService(
    bus,
    "agent",
    "Runs jobs on this machine",
    [{ name: "run", subject: bus.subjects.runs("P2", nodeId) }],
    { node_id: nodeId, layer },
  );
  lifecycle.onClose("announcement", async () => void (await service.stop()));
  const health = () => ({
    ok: bus.connected() && work.problem === undefined,
    node_id: nodeId,
    ...stance.status,
    jobs: intake.jobs.size,
    problems: [...probes.problems(), ...work.runtimeProblems],
  });
  const healthPort = await serveHealth({ host: "127.0.0.1", port: config.healthPort, metrics, health }, lifecycle);
  announceReady("agent", { health_port: healthPort, node_id: nodeId, layer });
});

/** Loaded only where it is needed: reading YAML and prices takes memory that a person's machine should not give for it. */
async function egressOf(providers: string, routingConfig: string | undefined) {
  const { prepareEgress } = await import("./egress/start.ts");
  return prepareEgress(providers, routingConfig, process.env, log);
}

/** After a sleep the other end may be long gone, which nobody would notice for seconds: pings come every five. */
async function reviveBus(bus: Bus): Promise<void> {
  const alive = await within(
    bus.nc.flush().catch(() => undefined),
    REVIVE_LIMIT_MS,
  );
  if (!alive && !bus.nc.isClosed()) await bus.nc.reconnect().catch(() => undefined);
}

async function onReconnect(bus: Bus, then: () => void): Promise<void> {
  for await (const { type } of bus.nc.status()) if (type === "reconnect") then();
}
