/**
 * A process that records events and says each one's id when it did, until it is killed:
 * `node spool-owner.ts <url> <user> <password> <spool folder>`.
 */
import { connectBus } from "../../service/bus.ts";
import { EventPublisher } from "../../service/events.ts";
import { createLog } from "../../service/log.ts";
import { Spool } from "../../service/spool.ts";

const [url = "", user = "", password = "", folder = ""] = process.argv.slice(2);
const log = createLog("spool-owner", "warn");
const bus = await connectBus("spool-owner", { url, user, password }, log);
const spool = await Spool.open(folder, "owner", log);
const events = new EventPublisher(bus, "owner", "owner", log, spool);
console.log(`sent again ${spool.leftovers.length}`);
setInterval(() => {
  const { id } = events.record("node_left", { node_id: "n1", layer: "L1", reason: null }, { dataClass: "P2" });
  queueMicrotask(() => console.log(`recorded ${id}`));
}, 1);
