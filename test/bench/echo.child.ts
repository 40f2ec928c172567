import { connectBus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { addressFromEnv } from "./bus-address.ts";
import { serveParent } from "./child.ts";

/** Answers every request on `bench.echo` with its own body. */
const bus = await connectBus("bench-echo", addressFromEnv(), createLog("bench", "warn"));
bus.listen("bench.echo", (msg) => void msg.respond(msg.data));
await bus.nc.flush();
serveParent();
