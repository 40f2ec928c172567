/** A process that owns an embedded bus until it is killed: `node bus-server-owner.ts <nats-server> <state folder>`. */
import { startEmbeddedBus } from "../../service/bus-server/index.ts";

const [binary = "", stateDir = ""] = process.argv.slice(2);
const bus = await startEmbeddedBus({ binary, stateDir });
console.log(`up ${bus.pid} ${bus.guardianPid} ${bus.port}`);
