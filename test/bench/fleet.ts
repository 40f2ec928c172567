import type { Msg, Subscription } from "@nats-io/nats-core";
import { acceptsAsIs } from "../../bus-schemas/accepts.ts";
import { NodeRecord, parseOrThrow } from "../../bus-schemas/index.ts";
import { FleetView } from "../../router/fleet-view.ts";
import { connectBus } from "../../service/bus.ts";
import { contentType, decode, encode } from "../../service/codec.ts";
import { subscribeHeartbeats } from "../../service/heartbeats.ts";
import { createLog } from "../../service/log.ts";
import { readBody } from "../../service/messages.ts";
import { startTestBus } from "../kit/bus.ts";
import { FakeEvents } from "../kit/router-parts.ts";
import type { Bench, Report } from "./bench.ts";
import { busAddress, busEnv } from "./bus-address.ts";
import { startChild } from "./child.ts";
import { FLEET_SIZE, beatsOf } from "./fleet-beats.ts";
import { paired, type Comparison, type Variant } from "./harness.ts";

/** Heartbeats of each node in one round. */
const BEATS = 20;
const ROUNDS = { rounds: 11, warmupRounds: 3 };
const VIEW = "checked, into the fleet view";

/** How many heartbeats a second one router takes in. */
export const fleet: Bench = {
  summary: "heartbeats of 1,000 agents into one router's view of its fleet, checked, against receiving them alone",
  run,
};

async function run(report: Report): Promise<void> {
  report.add(await inMemory());
  await using server = await startTestBus();
  const bus = await connectBus("fleet-bench", busAddress(server), createLog("bench", "warn"));
  await using _sender = await startChild(new URL("./fleet-sender.child.ts", import.meta.url), busEnv(server));
  let handle: (msg: Msg) => void = () => undefined;
  let left = 0;
  let done: () => void = () => undefined;
  const subscription = bus.listen(bus.subjects.heartbeats, (msg) => {
    handle(msg);
    if (--left === 0) done();
  });
  const type = contentType("shared");
  const by =
    (work: (msg: Msg) => void): Variant =>
    async () => {
      handle = work;
      left = BEATS * FLEET_SIZE;
      const all = new Promise<void>((resolve) => (done = resolve));
      bus.nc.publish("bench.beat", String(BEATS));
      await all;
      return BEATS * FLEET_SIZE;
    };
  const comparison = await paired(
    `heartbeats of ${FLEET_SIZE} nodes through nats-server`,
    {
      received: by(() => undefined),
      decoded: by((msg) => void decode(msg.data, type)),
      "decoded and checked by zod alone": by((msg) => void readBody(msg, NodeRecord)),
      [VIEW]: by(intoView(report, subscription)),
    },
    ROUNDS,
  );
  report.add(comparison);
  const cpuUs = comparison.results.find(({ variant }) => variant === VIEW)?.cpuUsPerOp ?? Number.NaN;
  report.note(
    `by its CPU time one router takes in ${Math.round(1e6 / cpuUs)} heartbeats a second; sender and broker are other processes`,
  );
  report.note("what it goes into: node --cpu-prof test/bench/run.ts fleet");
  await bus.drain();
}

/** What a router does with a heartbeat, all of it: its own subscription's handler, taken to be called in turns with the others. */
function intoView(report: Report, subscription: Subscription): (msg: Msg) => void {
  let handler: (msg: Msg) => void = () => undefined;
  const bus = {
    subjects: { heartbeats: "" },
    listen: (_subject: string, taken: (msg: Msg) => void) => {
      handler = taken;
      return subscription;
    },
  };
  const view = new FleetView(new FakeEvents() as never);
  subscribeHeartbeats(
    bus as never,
    (record) => view.onHeartbeat(record, view.nowMs()),
    (error) => report.note(`refused: ${error.message}`),
  );
  return (msg) => handler(msg);
}

/** What the check adds to decoding, without a bus. */
async function inMemory(): Promise<Comparison> {
  const type = contentType("shared");
  const bodies = beatsOf().map((record) => Uint8Array.from(encode(record, "shared")));
  const accepts = acceptsAsIs(NodeRecord);
  const over =
    (work: (body: Uint8Array) => unknown): Variant =>
    () => {
      for (const body of bodies) if (work(body) === false) throw new Error("not accepted as it is");
      return bodies.length;
    };
  return paired("one heartbeat in memory", {
    decoded: over((body) => decode(body, type)),
    "decoded and checked": over((body) => accepts(decode(body, type))),
    "decoded and checked by zod": over((body) => parseOrThrow(NodeRecord, decode(body, type))),
  });
}
