import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { headers, type Msg } from "@nats-io/nats-core";
import { Packr } from "msgpackr";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  CONTENT_TYPES,
  HEADERS,
  NodeRecord,
  SHARED_STRUCTURES,
  versionOfStructures,
  type MeshError,
} from "../../bus-schemas/index.ts";
import { connectBus, redactUrl, type Bus } from "../../service/bus.ts";
import { encode } from "../../service/codec.ts";
import { EventPublisher } from "../../service/events.ts";
import { subscribeHeartbeats } from "../../service/heartbeats.ts";
import { createLog } from "../../service/log.ts";
import { headersFor } from "../../service/messages.ts";
import { announceService } from "../../service/micro.ts";
import { Spool } from "../../service/spool.ts";
import { ensureAuditStream } from "../../service/streams.ts";
import { serveStructures } from "../../service/structures-exchange.ts";
import { startTestBus, type TestBus } from "../kit/bus.ts";
import { tempDir } from "../kit/temp-dir.ts";
import { waitFor } from "../kit/wait-for.ts";

const log = createLog("test", "silent");
const left = { node_id: "n1", layer: "L1", reason: null } as const;
let server: TestBus;
let bus: Bus;
const connectTo = (name: string) =>
  connectBus(name, { url: server.url, user: server.user, password: server.pass }, log);

beforeAll(async () => {
  server = await startTestBus();
  bus = await connectTo("one");
});
afterAll(async () => {
  await bus.drain();
  await server.stop();
});

async function stored(): Promise<number> {
  return (await (await jetstreamManager(bus.nc)).streams.info("AUDIT")).state.messages;
}

test("an event waits for the stream that is not there yet, and is then stored once", async () => {
  const events = new EventPublisher(bus, "test", "test", log);
  const first = events.record("node_left", left);
  await bus.nc.flush();
  expect(events.pendingCount).toBe(1);
  await ensureAuditStream(bus);
  await first.durable;
  expect([events.pendingCount, await stored()]).toEqual([0, 1]);
  await events.close();
});

test("an event carries its CloudEvents attributes, and its trace", async () => {
  const events = new EventPublisher(bus, "router", "r1", log);
  const { promise, resolve } = Promise.withResolvers<Msg>();
  const subscription = bus.nc.subscribe(bus.subjects.events, { callback: (_error, msg) => resolve(msg) });
  const { id } = events.record("node_left", left, { dataClass: "P1", traceparent: "00-1-1-01" });
  const msg = await promise;
  subscription.unsubscribe();
  expect(msg.subject).toBe("mesh.main.event.node_left.P1.router.r1");
  const header = (name: string) => msg.headers?.get(name);
  expect(
    [HEADERS.ceId, HEADERS.msgId, HEADERS.ceSource, HEADERS.ceType, HEADERS.ceSpecVersion, HEADERS.traceparent].map(
      header,
    ),
  ).toEqual([id, id, "router/r1", "tiermesh.node_left", "1.0", "00-1-1-01"]);
  expect(msg.json()).toEqual(left);
  await events.close();
});

test("events recorded while the server is killed are stored once each when it is back, and the bus reconnects", async () => {
  const before = await stored();
  const events = new EventPublisher(bus, "test", "test", log);
  const recorded = Array.from({ length: 200 }, () => events.record("node_left", left));
  await server.kill();
  await waitFor(() => expect(bus.connected()).toBe(false));
  recorded.push(...Array.from({ length: 200 }, () => events.record("node_left", left)));
  await server.restart();
  await Promise.all(recorded.map((event) => event.durable));
  expect(bus.connected()).toBe(true);
  expect(await stored()).toBe(before + 400);
  await events.close();
});

test("the same event sent twice is stored once", async () => {
  const before = await stored();
  const events = new EventPublisher(bus, "test", "test", log);
  for (let i = 0; i < 2; i++) await events.record("node_left", left, { id: "01J0000000000000000000TWIN" }).durable;
  expect(await stored()).toBe(before + 1);
  await events.close();
});

test("what was not stored at the stop is refused, not forgotten", async () => {
  await server.kill();
  await waitFor(() => expect(bus.connected()).toBe(false));
  const events = new EventPublisher(bus, "test", "test", log);
  const { durable } = events.record("node_left", left);
  await events.close(50);
  await expect(durable).rejects.toMatchObject({ code: "audit_unavailable" });
  await server.restart();
  await waitFor(() => expect(bus.connected()).toBe(true));
});

test("what a former process left in its spool is said in the name of the one that found it, old subjects and all", async () => {
  await using home = tempDir();
  const folder = path.join(home.path, "router");
  mkdirSync(folder);
  const body = JSON.stringify(left);
  const lines = [
    // Before subjects named their source.
    `+01J0000000000000000000AAAA mesh.main.event.node_left.P1 node_left 2026-01-02T03:04:05.678Z router%2Fr0 00-1-1-01 ${body}`,
    `+01J0000000000000000000BBBB mesh.main.event.node_left.none node_left 2026-01-02T03:04:05.678Z up  ${body}`,
    `+01J0000000000000000000CCCC node_left P2 2026-01-02T03:04:05.678Z 00-2-2-01 ${body}`,
    `+01J0000000000000000000DDDD mesh.main.event.node_left.P1 node_lost 2026-01-02T03:04:05.678Z up  ${body}`,
    `+01J0000000000000000000EEEE node_left P2 2026-01-02T03:04:05.678Z %E0%A4%A ${body}`,
  ];
  writeFileSync(path.join(folder, "00000001.spool"), `${lines.join("\n")}\n`);
  const before = await stored();
  const spool = await Spool.open(home.path, "router", log);
  const events = new EventPublisher(bus, "router", "r1", log, spool);
  await waitFor(() => expect(events.pendingCount).toBe(0));
  expect(spool.waitingCount).toBe(0);
  const manager = await jetstreamManager(bus.nc);
  const found = await Promise.all(
    [1, 2, 3].map(async (i) => {
      const message = await manager.streams.getMessage("AUDIT", { seq: before + i });
      return [message?.subject, message?.header.get("ce-source"), message?.header.get("ce-time"), message?.string()];
    }),
  );
  const said = ["router/r1", "2026-01-02T03:04:05.678Z", body];
  expect(found).toEqual([
    ["mesh.main.event.node_left.P1.router.r1", ...said],
    ["mesh.main.event.node_left.none.router.r1", ...said],
    ["mesh.main.event.node_left.P2.router.r1", ...said],
  ]);
  expect(await stored()).toBe(before + 3);
  await events.close();
});

test("a process whose name is no subject token cannot speak at all", () => {
  for (const [process, name] of [
    ["agent", "a.b"],
    ["agent", ">"],
    ["", "n1"],
  ] as const)
    expect(() => new EventPublisher(bus, process, name, log)).toThrow("letters, digits, _ and -");
});

test("making sure of the stream again keeps its events", async () => {
  const before = await stored();
  await ensureAuditStream(bus);
  expect(await stored()).toBe(before);
});

const node = NodeRecord.parse({
  node_id: "ws-1",
  layer: "L1",
  status: "healthy",
  hardware: {},
  last_heartbeat: "2024-01-15T10:30:00Z",
});

test("two builds with different structure tables come to understand each other", async () => {
  const older = await connectTo("older");
  const table = [Object.keys(node).toReversed(), ["other"]];
  const version = versionOfStructures(table);
  const seen: NodeRecord[] = [];
  const rejected: MeshError[] = [];
  const subscription = subscribeHeartbeats(
    bus,
    (record) => seen.push(record),
    (error) => rejected.push(error),
  );
  await bus.nc.flush();
  let asked = 0;
  const answers = [[["not", "that", "table"]], table];
  older.listen(older.subjects.codec(version), (msg) => void msg.respond(JSON.stringify(answers[Math.min(asked++, 1)])));
  await older.nc.flush();

  const packr = new Packr({ structures: table.map((keys) => [...keys]), maxSharedStructures: table.length });
  const reversed = Object.fromEntries(Object.entries(node).toReversed());
  const type = headers();
  type.set(HEADERS.contentType, `${CONTENT_TYPES.sharedMsgpack}; v=${version}`);
  await waitFor(() => {
    older.nc.publish(older.subjects.heartbeat("L1", "ws-1"), packr.pack(reversed), { headers: type });
    expect(seen.length).toBeGreaterThan(0);
  });
  expect(seen[0]).toEqual(node);
  expect(rejected[0]?.code).toBe("codec_unknown");
  // The first answer was a table of another version: it was not believed, and asked for again.
  expect(asked).toBe(2);
  subscription.unsubscribe();
  await older.drain();
});

test("our own table is served to whoever asks", async () => {
  serveStructures(bus);
  const peer = await connectTo("peer");
  const reply = await peer.nc.request(peer.subjects.codec(versionOfStructures(SHARED_STRUCTURES)));
  expect(reply.json()).toEqual(SHARED_STRUCTURES);
  await peer.drain();
});

test("a heartbeat in another node's name, or garbage, is rejected by field and the next one is read", async () => {
  const agent = await connectTo("agent");
  const seen: string[] = [];
  const rejected: (string | undefined)[] = [];
  const subscription = subscribeHeartbeats(
    bus,
    (record) => seen.push(record.node_id),
    (error) => rejected.push(error.field ?? error.code),
  );
  await bus.nc.flush();
  const shared = headersFor("shared");
  const on = agent.subjects.heartbeat("L1", "ws-1");
  agent.nc.publish(on, encode({ ...node, node_id: "ws-2" }, "shared"), { headers: shared });
  agent.nc.publish(on, encode({ ...node, layer: "L2" }, "shared"), { headers: shared });
  agent.nc.publish(on, Uint8Array.of(1, 2, 3), { headers: shared });
  agent.nc.publish(on, "garbage");
  agent.nc.publish(on, new Uint8Array(300 * 1024));
  agent.nc.publish(on, encode(node, "shared"), { headers: shared });
  await waitFor(() => expect(seen).toEqual(["ws-1"]));
  expect(rejected).toEqual(["node_id", "layer", "bad_request", "bad_request", "payload_too_large"]);
  subscription.unsubscribe();
  await agent.drain();
});

test("a process shows up as a micro service with the subjects it serves, until it stops", async () => {
  const endpoint = {
    name: "submit",
    subject: bus.subjects.submits,
    queue: "router",
    stats: () => ({ requests: 3, errors: 1 }),
  };
  const service = await announceService(bus, "router", "Routes jobs", [endpoint], { layer: "L1" });
  const ask = async (subject: string) =>
    (await bus.nc.request(subject, undefined, { timeout: 2000 })).json<Record<string, unknown>>();
  const ping = await ask("$SRV.PING");
  expect(ping).toMatchObject({
    type: "io.nats.micro.v1.ping_response",
    name: "tiermesh-router",
    metadata: { layer: "L1" },
  });
  expect(await ask("$SRV.INFO.tiermesh-router")).toMatchObject({
    type: "io.nats.micro.v1.info_response",
    description: "Routes jobs",
    endpoints: [{ name: "submit", subject: "mesh.main.job.submit.*", queue_group: "router" }],
  });
  expect(await ask(`$SRV.STATS.tiermesh-router.${String(ping["id"])}`)).toMatchObject({
    type: "io.nats.micro.v1.stats_response",
    endpoints: [{ num_requests: 3, num_errors: 1 }],
  });
  await service.stop();
  await expect(ask("$SRV.PING.tiermesh-router")).rejects.toThrow();
});

test("a bus that does not answer is a typed error that does not show the password", async () => {
  const url = "nats://user:hunter2@127.0.0.1:1";
  const failure = await connectBus("x", { url }, log, { timeoutMs: 500 }).then(
    () => undefined,
    (error: unknown) => error as MeshError,
  );
  expect(failure).toMatchObject({ code: "bus_unavailable" });
  expect(failure?.message).toContain(redactUrl(url));
  expect(failure?.message).not.toContain("hunter2");
});
