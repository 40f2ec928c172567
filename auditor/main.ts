import { join } from "node:path";
import { MeshError } from "../bus-schemas/index.ts";
import { connectBus } from "../service/bus.ts";
import { busAddressOf } from "../service/config.ts";
import { tryLock } from "../service/file-lock.ts";
import { EventPublisher } from "../service/events.ts";
import { runProcess } from "../service/lifecycle.ts";
import { createLog } from "../service/log.ts";
import { Metrics, serveHealth } from "../service/metrics.ts";
import { announceService } from "../service/micro.ts";
import { spoolDir, stateDir } from "../service/paths.ts";
import { announceReady } from "../service/ready.ts";
import { Rejections } from "../service/rejections.ts";
import { Spool } from "../service/spool.ts";
import { serveStructures } from "../service/structures-exchange.ts";
import { Auditor } from "./auditor.ts";
import { auditorConfig } from "./config.ts";
import { serveDesk } from "./desk.ts";
import { GapWatch } from "./gap-watch.ts";
import { SearchDesk } from "./search/search-desk.ts";

const log = createLog("auditor");

runProcess(log, async (lifecycle) => {
  const config = auditorConfig(process.env, { auditDir: join(stateDir(), "audit") });
  const lock = await tryLock(join(config.auditDir, "lock"), lifecycle.signal);
  if ("heldBy" in lock) {
    throw new MeshError("bad_config", `${config.auditDir}: process ${lock.heldBy.pid} already writes this audit log`);
  }
  lifecycle.onClose("lock", () => lock.release());

  const { cell } = config;
  const bus = await connectBus("auditor", busAddressOf(config), log, { retry: true });
  lifecycle.onClose("bus", () => bus.drain());
  serveStructures(bus);
  const metrics = new Metrics("auditor");
  const spool = await Spool.open(spoolDir(cell), "auditor", log);
  const events = new EventPublisher(bus, "auditor", "auditor", log, spool);
  lifecycle.onClose("events", () => events.close());
  const rejections = new Rejections("auditor", events, metrics, log);
  lifecycle.onClose("rejections", () => rejections.close());

  const auditor = new Auditor(bus, config.auditDir, metrics, log, { segmentBytes: config.auditSegmentBytes });
  const loop = auditor.start();
  lifecycle.onClose("log", async () => {
    await loop.stop();
    await auditor.close();
  });

  const search = new SearchDesk(config.auditDir, log);
  lifecycle.onClose("search", () => search.close());
  const endpoints = serveDesk(bus, { auditor, search, rejections, folder: config.auditDir });
  const gaps = new GapWatch({ bus, auditor, search, events, metrics, log, everyMs: config.auditCheckMs });
  lifecycle.onClose("gaps", () => gaps.stop());
  const service = await announceService(bus, "auditor", "Keeps the audit log", endpoints);
  lifecycle.onClose("announcement", () => service.stop());
  const health = () => ({ ...auditor.health, search: search.state, gaps: gaps.found });
  const port = await serveHealth({ host: "127.0.0.1", port: config.healthPort, metrics, health }, lifecycle);
  await auditor.ready;
  announceReady("auditor", { health_port: port, audit_dir: config.auditDir, sequence: auditor.health.sequence });
});
