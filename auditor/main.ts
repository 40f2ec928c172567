import { join } from "node:path";
import { MeshError } from "../bus-schemas/index.ts";
import { connectBus } from "../service/bus.ts";
import { busAddressOf } from "../service/config.ts";
import { tryLock } from "../service/file-lock.ts";
import { EventPublisher } from "../service/events.ts";
import { runProcess } from "../service/lifecycle.ts";
import { createLog } from "../service/log.ts";
import { startLoop } from "../service/loop.ts";
import { Metrics, serveHealth } from "../service/metrics.ts";
import { announceService } from "../service/micro.ts";
import { spoolDir, stateDir } from "../service/paths.ts";
import { PolicyBucket } from "../service/policy-bucket.ts";
import { policyInForce } from "../service/policy-in-force.ts";
import { announceReady } from "../service/ready.ts";
import { Rejections } from "../service/rejections.ts";
import { Spool } from "../service/spool.ts";
import { serveStructures } from "../service/structures-exchange.ts";
import { readStorageKeys } from "./at-rest/storage-keys.ts";
import { Auditor } from "./auditor.ts";
import { auditorConfig } from "./config.ts";
import { Desk } from "./desk.ts";
import { ExportRecord } from "./export-record.ts";
import { GapWatch } from "./gap-watch.ts";
import { TLOG_FOLDER } from "./log-key.ts";
import { Pruner } from "./pruning/pruner.ts";
import { retentionOf } from "./pruning/retention.ts";
import { TrustedClock } from "./pruning/trusted-clock.ts";
import { RecordPathWatch } from "./record-path.ts";
import { SearchDesk } from "./search/search-desk.ts";
import { Cosigner } from "./witness/cosigner.ts";
import { WitnessFile } from "./witness/witness-file.ts";

/** How often it is looked for what is past its retention, milliseconds. */
const PRUNE_MS = 10 * 60_000;

/** How often a part of the signed log's files is looked over, milliseconds. */
const SCRUB_MS = 5000;

/** How often it is looked whether the list of witnesses has changed, milliseconds. */
const WITNESS_LIST_MS = 2000;

/** How often some more files are encrypted by a new storage key, while there are any, milliseconds. */
const RESEAL_MS = 200;

/** Receipts that were given out are recorded so often, milliseconds. */
const EXPORTS_MS = 60_000;

const log = createLog("auditor");

runProcess(log, async (lifecycle) => {
  const config = auditorConfig(process.env, { auditDir: join(stateDir(), "audit") });
  const lock = await tryLock(join(config.auditDir, "lock"), lifecycle.signal);
  if ("heldBy" in lock) {
    throw new MeshError("bad_config", `${config.auditDir}: process ${lock.heldBy.pid} already writes this audit log`);
  }
  lifecycle.onClose("lock", () => lock.release());

  const keys = readStorageKeys(process.env, stateDir());
  const { cell } = config;
  const bus = await connectBus("auditor", busAddressOf(config), log, { retry: true });
  lifecycle.onClose("bus", () => bus.drain());
  serveStructures(bus);
  const metrics = new Metrics("auditor");
  const spool = await Spool.open(spoolDir(cell), "auditor", log);
  const events = new EventPublisher(bus, "auditor", config.auditorId, log, spool);
  lifecycle.onClose("events", () => events.close());
  const rejections = new Rejections("auditor", events, metrics, log);
  lifecycle.onClose("rejections", () => rejections.close());

  const auditor = new Auditor(
    bus,
    { metrics, log, events },
    {
      folder: config.auditDir,
      name: config.auditorId,
      keys,
      keyFile: config.auditKeyFile,
      mldsa: config.auditMldsa,
      segmentBytes: config.auditSegmentBytes,
      // The one who writes answers: the other one is a moment behind.
      onTurn: (isWriter) => desk.open(isWriter),
      onCanary: () => recordPath.logged(),
      onStored: (entries) => pruner.onStored(entries),
    },
  );
  const recordPath = new RecordPathWatch({
    bus,
    name: config.auditorId,
    everyMs: config.auditCanaryMs,
    isWriter: () => auditor.signedLog !== undefined,
    probe: () => auditor.probe(),
    metrics,
  });
  const search = new SearchDesk(config.auditDir, log, keys);
  lifecycle.onClose("search", () => search.close());
  const exports = new ExportRecord(events, rejections, log);
  const parts = { auditor, recordPath, search, rejections, exports, folder: config.auditDir, keys };
  const desk = new Desk(bus, parts);
  const policies = await PolicyBucket.open(bus);
  const clock = new TrustedClock({
    file: join(config.auditDir, "clock"),
    onLeap: (byMs) =>
      log.warn({ days: byMs / 86_400_000 }, "the clock has leapt: nothing is pruned until it has stood for three days"),
  });
  const pruner = new Pruner({
    folder: join(config.auditDir, TLOG_FOLDER),
    keys,
    size: () => auditor.treeSize,
    retention: async () => retentionOf((await policyInForce(policies)).good?.config),
    isWriter: () => auditor.signedLog !== undefined,
    announce: (what) => void events.record("audit_pruned", { auditor: config.auditorId, ...what }),
    now: () => clock.now(),
    pruneSegments: (beforeSequence) => auditor.pruneSegments(beforeSequence),
  });
  const loop = auditor.start();
  lifecycle.onClose("log", async () => {
    await loop.stop();
    await auditor.close();
  });

  const onError = (error: unknown) => log.error({ err: error }, "the audit log could not be pruned");
  const onReseal = (error: unknown) => log.warn({ err: error }, "the log could not be encrypted anew");
  const onScrub = (error: unknown) => log.warn({ err: error }, "the signed log could not be looked over");
  const pruning = startLoop({ name: "pruning", everyMs: PRUNE_MS, onError }, () => pruner.tick().then(() => undefined));
  lifecycle.onClose("pruning", () => pruning.stop());

  const scrubbing = startLoop({ name: "scrub", everyMs: SCRUB_MS, onError: onScrub }, () => auditor.scrub());
  lifecycle.onClose("scrub", () => scrubbing.stop());

  const resealing = startLoop({ name: "reseal", everyMs: RESEAL_MS, onError: onReseal }, () => auditor.reseal());
  lifecycle.onClose("reseal", () => resealing.stop());

  const witnessFile = new WitnessFile({
    list: config.auditWitnesses ?? join(config.auditDir, "witnesses"),
    ca: config.auditWitnessCa,
    onChange: (witnesses) => {
      log.info({ witnesses: witnesses.map(({ name }) => name) }, "another list of witnesses");
      cosigner.use(witnesses);
    },
    onProblem: (problem) => {
      if (problem === null) log.info("the list of witnesses is good again");
      else log.error({ problem }, "the list of witnesses cannot be used; the one before stays");
    },
  });
  const cosigner = new Cosigner({
    witnesses: await witnessFile.open(),
    log: () => auditor.signedLog,
    metrics,
    processLog: log,
    onChange: (change) => void events.record("witness_changed", change),
  });
  const cosigning = cosigner.start();
  lifecycle.onClose("witnesses", () => cosigning.stop());
  const onList = (error: unknown) => log.warn({ err: error }, "the list of witnesses could not be looked at");
  const listing = startLoop({ name: "witness list", everyMs: WITNESS_LIST_MS, onError: onList }, () =>
    witnessFile.look(),
  );
  lifecycle.onClose("witness list", () => listing.stop());

  const onCanary = (error: unknown) =>
    log.warn({ err: error }, "it could not be tried whether events come into the log");
  const trying = startLoop({ name: "canary", everyMs: config.auditCanaryMs, onError: onCanary }, () =>
    recordPath.send(),
  );
  lifecycle.onClose("canary", () => trying.stop());

  const onExports = (error: unknown) => log.warn({ err: error }, "exports could not be counted");
  const counting = startLoop({ name: "exports", everyMs: EXPORTS_MS, onError: onExports }, () => exports.flush());
  lifecycle.onClose("exports", async () => {
    await counting.stop();
    exports.flush();
  });

  const gaps = new GapWatch({ bus, auditor, search, events, metrics, log, everyMs: config.auditCheckMs });
  lifecycle.onClose("gaps", () => gaps.stop());
  const service = await announceService(bus, "auditor", "Keeps the audit log", desk.endpoints);
  lifecycle.onClose("announcement", () => service.stop());
  const health = () => ({
    ...auditor.health,
    ok: auditor.health.ok && recordPath.state.ok,
    record_path: recordPath.state,
    search: search.state,
    gaps: gaps.found,
    /** Whether what is past its retention may go by the clock. */
    clock_trusted: clock.isTrusted,
    witnesses: cosigner.health,
    witness_list: witnessFile.problem,
  });
  const port = await serveHealth({ host: "127.0.0.1", port: config.healthPort, metrics, health }, lifecycle);
  await auditor.ready;
  const { role, sequence } = auditor.health;
  announceReady("auditor", { health_port: port, audit_dir: config.auditDir, sequence, role });
});
