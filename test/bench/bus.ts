import { headers as newHeaders } from "@nats-io/nats-core";
import { jetstream } from "@nats-io/jetstream";
import { HEADERS, RoutingConfig, type EventData } from "../../bus-schemas/index.ts";
import { AuditGate } from "../../router/audit-gate.ts";
import { Fleet } from "../../router/policy/fleet.ts";
import { compilePolicy } from "../../router/policy/policy.ts";
import { decideRecorded } from "../../router/policy/record-inputs.ts";
import { connectBus } from "../../service/bus.ts";
import { EventPublisher } from "../../service/events.ts";
import { createLog } from "../../service/log.ts";
import { Spool } from "../../service/spool.ts";
import { newId } from "../../service/ids.ts";
import { makeHeaders } from "../../service/messages.ts";
import { ensureAuditStream } from "../../service/streams.ts";
import { startTestBus } from "../kit/bus.ts";
import { seeded } from "../kit/routing.ts";
import { tempDir } from "../kit/temp-dir.ts";
import type { Bench, Report } from "./bench.ts";
import { busAddress, busEnv } from "./bus-address.ts";
import { startChild } from "./child.ts";
import { jobs } from "./decide.ts";
import { paired } from "./harness.ts";
import { fleetNode } from "./samples.ts";

const BODY = new TextEncoder().encode(JSON.stringify({ text: "x".repeat(1000) }));
const MANY = 4000;
const HOPS = 300;
/** Events of one burst. */
const EVENTS = 1000;
/** Nodes of the fleet that a decision is recorded for: as many as a record names. */
const NODES = 8;
const ENDED = { job_id: "01K9ZQ6V3M8N5T2R7W4X1Y0ABC", status: "finished", node_id: "gpu-server-07" } as const;

const AUDIT_GATE = "the router's audit gate, P1";

/** What the bus itself costs: the floor of everything else. */
export const bus: Bench = {
  summary: "one hop and publishing on a real nats-server; events with their acknowledgements",
  run,
};

async function run(report: Report): Promise<void> {
  await using server = await startTestBus();
  await using _echo = await startChild(new URL("./echo.child.ts", import.meta.url), busEnv(server));
  await using _forwarder = await startChild(new URL("./forwarder.child.ts", import.meta.url), busEnv(server));
  const log = createLog("bench", "warn");
  const mesh = await connectBus("bench", busAddress(server), log);
  const { nc } = mesh;
  await ensureAuditStream(mesh);
  const js = jetstream(nc);
  const events = new EventPublisher(mesh, "bench", "bench", log);
  await using home = tempDir();
  const spooled = new EventPublisher(mesh, "bench", "bench", log, await Spool.open(home.path, "bench", log));
  const data = {
    ...ENDED,
    decision_id: null,
    error: null,
    layer: "L1" as const,
    model: "llama3.1-8b",
    finish_reason: "stop",
    usage: { prompt_tokens: 310, completion_tokens: 128, estimated: false },
    timing: { queued_ms: 3, ttft_ms: 140, total_ms: 2870 },
  };
  const eventBody = JSON.stringify(data);
  const subject = mesh.subjects.event("job_ended", "P2", "bench", "bench");
  const names = [HEADERS.msgId, HEADERS.ceSpecVersion, HEADERS.ceId, HEADERS.ceSource, HEADERS.ceType, HEADERS.ceTime];
  const libraryHeaders = () => {
    const headers = newHeaders();
    for (const name of names) headers.set(name, "2027-01-15T08:00:00.123Z");
    return headers;
  };
  const ourHeaders = () => makeHeaders(Object.fromEntries(names.map((name) => [name, "2027-01-15T08:00:00.123Z"])));
  const eventHeaders = () => makeHeaders({ [HEADERS.msgId]: newId() });
  try {
    report.add(
      await paired(`publish ${BODY.length} bytes, ${MANY} in a burst`, {
        "without headers": async () => {
          for (let i = 0; i < MANY; i++) nc.publish("bench.nobody", BODY);
          await nc.flush();
          return MANY;
        },
        "6 headers, set by the library": async () => {
          for (let i = 0; i < MANY; i++) nc.publish("bench.nobody", BODY, { headers: libraryHeaders() });
          await nc.flush();
          return MANY;
        },
        "6 headers, service/messages.ts": async () => {
          for (let i = 0; i < MANY; i++) nc.publish("bench.nobody", BODY, { headers: ourHeaders() });
          await nc.flush();
          return MANY;
        },
      }),
    );
    const gate = new AuditGate();
    const decided = decidedEvent();
    const hops = await paired("one hop: request and answer by another process, one at a time", {
      "one hop": () => oneByOne(() => nc.request("bench.echo", BODY)),
      "through a bare forwarder": () => oneByOne(() => nc.request("bench.forward", BODY)),
      "event, until it is durable": () => oneByOne(() => events.record("job_ended", data, { dataClass: "P1" }).durable),
      "the same with a spool": () => oneByOne(() => spooled.record("job_ended", data, { dataClass: "P1" }).durable),
      [AUDIT_GATE]: () =>
        oneByOne(() => gate.pass(decided.job_id, spooled.record("job_decided", decided, { dataClass: "P1" }).durable)),
    });
    report.add(hops);
    const gateUs = hops.results.find(({ variant }) => variant === AUDIT_GATE)?.usPerOp ?? Number.NaN;
    report.note(`audit gate, p50 from a P1 decision to its durable record: ${(gateUs / 1000).toFixed(2)} ms`);
    report.add(
      await paired(`events, ${EVENTS} in a burst`, {
        "bare publish": async () => {
          for (let i = 0; i < EVENTS; i++) nc.publish("bench.nobody", eventBody);
          await nc.flush();
          return EVENTS;
        },
        "stored, nobody waits": async () => {
          for (let i = 0; i < EVENTS; i++) nc.publish(subject, eventBody, { headers: eventHeaders() });
          await nc.flush();
          return EVENTS;
        },
        "EventPublisher, all acknowledged": async () => {
          await Promise.all(
            Array.from({ length: EVENTS }, () => events.record("job_ended", data, { dataClass: "P2" }).durable),
          );
          return EVENTS;
        },
        "the same with a spool": async () => {
          await Promise.all(
            Array.from({ length: EVENTS }, () => spooled.record("job_ended", data, { dataClass: "P2" }).durable),
          );
          return EVENTS;
        },
        "the library's js.publish, all acknowledged": async () => {
          await Promise.all(Array.from({ length: EVENTS }, () => js.publish(subject, eventBody, { msgID: newId() })));
          return EVENTS;
        },
      }),
    );
  } finally {
    await events.close();
    await spooled.close();
    await mesh.drain();
  }
}

/** The record of a decision among eight nodes, about 4 KB. */
function decidedEvent(): EventData<"job_decided"> {
  const random = seeded(NODES);
  const fleet = new Fleet();
  for (let i = 0; i < NODES; i++) fleet.upsert(fleetNode(i, random), Date.now());
  const [request] = jobs(1, { dataClass: "P1", model: undefined, deadlineMs: Date.now() + 60_000 });
  if (request === undefined) throw new Error("one job");
  const policy = compilePolicy(RoutingConfig.parse({}), "bench");
  const made = decideRecorded(request, fleet, policy, Date.now(), random, "bench");
  const sizes = { request_bytes: 1200, prompt_tokens_estimate: request.promptTokens };
  return { job_id: request.jobId, attempt: 1, ...made, sizes };
}

async function oneByOne(request: () => Promise<unknown>) {
  const latenciesUs: number[] = [];
  for (let i = 0; i < HOPS; i++) {
    const start = performance.now();
    await request();
    latenciesUs.push((performance.now() - start) * 1000);
  }
  return { ops: HOPS, latenciesUs };
}
