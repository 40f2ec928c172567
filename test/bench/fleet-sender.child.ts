import { connectBus } from "../../service/bus.ts";
import { encode } from "../../service/codec.ts";
import { createLog } from "../../service/log.ts";
import { headersFor } from "../../service/messages.ts";
import { addressFromEnv } from "./bus-address.ts";
import { serveParent } from "./child.ts";
import { beatsOf, nextBeat } from "./fleet-beats.ts";

/** Sends a whole fleet's next heartbeats, as fast as it can, so many times as a message on `bench.beat` says. */
const bus = await connectBus("bench-fleet", addressFromEnv(), createLog("bench", "warn"));
let beats = beatsOf();
const headers = headersFor("shared");

async function send(times: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    beats = beats.map(nextBeat);
    for (const record of beats)
      bus.nc.publish(bus.subjects.heartbeat(record.layer, record.node_id), encode(record, "shared"), { headers });
    // No more is under way than one beat of the fleet: the broker drops who reads too slowly.
    await bus.nc.flush();
  }
}

bus.listen("bench.beat", (msg) => void send(Number(msg.string())));
await bus.nc.flush();
serveParent();
