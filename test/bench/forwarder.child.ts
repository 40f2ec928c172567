import { connectBus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { addressFromEnv } from "./bus-address.ts";
import { serveParent } from "./child.ts";

/** What any router costs at least: takes a message on `bench.forward` and sends it on to `bench.echo`, which answers. */
const bus = await connectBus("bench-forwarder", addressFromEnv(), createLog("bench", "warn"));
bus.listen("bench.forward", (msg) => bus.nc.publish("bench.echo", msg.data, { reply: msg.reply ?? "" }));
await bus.nc.flush();
serveParent();
