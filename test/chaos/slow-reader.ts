/** A program that hears everything it may and is then stopped by whoever started it: `node slow-reader.ts <json of BusAddress>`. */
import { connectBus, type BusAddress } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";

const bus = await connectBus("slow", JSON.parse(process.argv[2] ?? "") as BusAddress, createLog("slow", "silent"));
bus.listen(bus.subjects.events, () => undefined);
bus.listen(bus.subjects.heartbeats, () => undefined);
await bus.nc.flush();
process.stdout.write("ready\n");
