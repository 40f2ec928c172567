import { afterEach, expect, test } from "vitest";
import { AuditStream } from "./audit-stream.ts";
import { Broker } from "./broker.ts";
import { Connection } from "./connection.ts";
import { takeOver } from "./globals.ts";
import { Proc, World } from "./world.ts";

let giveBack = () => {};
afterEach(() => giveBack());

const NOWHERE = { onPublish: () => undefined, onDeliver: () => undefined, onThrow: () => undefined };

/** A broker with connected processes, each with what it hears. */
async function connected(...names: string[]) {
  const world = new World("1", false);
  giveBack = takeOver(world);
  const audit = new AuditStream(world);
  const broker = new Broker(world, audit);
  const latency = world.chance.fork("latency");
  const wire = { latencyMs: () => latency.between(0.1, 20), gridMs: 0, maxBytes: 100 };
  const peers = names.map((name) => {
    const proc = new Proc(name, 0, world.chance.fork(name), 0);
    const heard: string[] = [];
    const peer = { proc, heard, connection: undefined as unknown as Connection };
    world.start(proc, () => (peer.connection = new Connection(world, broker, proc, wire, NOWHERE)));
    return peer;
  });
  await world.run(1);
  const act = async (peer: (typeof peers)[number], body: () => void, forMs = 100) => {
    world.start(peer.proc, body);
    await world.run(world.nowMs + forMs);
  };
  const listen = (peer: (typeof peers)[number], subject: string, queue?: string) =>
    act(peer, () => {
      peer.connection.bus.listen(
        subject,
        (msg) => peer.heard.push(msg.headers?.code === 503 ? "503" : msg.string()),
        queue,
      );
    });
  return { world, audit, peers, act, listen };
}

test("wildcards match as NATS's do, and of a queue group one member hears each message", async () => {
  const { peers, act, listen } = await connected("a", "b", "c");
  const [a, b, c] = peers as [(typeof peers)[0], (typeof peers)[0], (typeof peers)[0]];
  await listen(a, "mesh.main.job.submit.*", "router");
  await listen(b, "mesh.main.job.submit.*", "router");
  await listen(c, "mesh.main.job.submit.>");
  await act(c, () => {
    for (let i = 0; i < 20; i++) c.connection.bus.nc.publish("mesh.main.job.submit.chat", String(i));
    c.connection.bus.nc.publish("mesh.main.job.submit.chat.more", "deeper");
  });
  expect(a.heard.length + b.heard.length).toBe(20);
  expect(a.heard.length).toBeGreaterThan(2);
  expect(b.heard.length).toBeGreaterThan(2);
  expect(c.heard).toHaveLength(21);
  // One connection keeps its order, however long each message takes.
  expect(c.heard.slice(0, 20)).toEqual(Array.from({ length: 20 }, (_, i) => String(i)));
});

test("a requester hears 503 when nobody listens, and nobody else does", async () => {
  const { peers, act, listen } = await connected("a", "b");
  const [a, b] = peers as [(typeof peers)[0], (typeof peers)[0]];
  await listen(a, "mesh.main.job.verdict.*.*.*");
  await listen(b, "mesh.main.job.verdict.*.*.*");
  await act(a, () =>
    a.connection.bus.nc.publish("mesh.main.job.run.P2.n1", "x", { reply: "mesh.main.job.verdict.r.n1.0" }),
  );
  expect(a.heard).toEqual(["503"]);
  expect(b.heard).toEqual([]);
  expect(() => a.connection.bus.nc.publish("mesh.main.x", "y".repeat(101))).toThrow(/max_payload/);
});

test("what is said while a connection is away is lost; its subscriptions come back with it", async () => {
  const { peers, act, listen } = await connected("a", "b");
  const [a, b] = peers as [(typeof peers)[0], (typeof peers)[0]];
  await listen(a, "mesh.main.heartbeat.*.*");
  const say = (text: string) => act(b, () => b.connection.bus.nc.publish("mesh.main.heartbeat.L0.n1", text));
  await say("before");
  a.connection.cut({ brokerNoticesMs: 1, clientNoticesMs: 300, backAfterMs: 10 });
  expect(a.connection.bus.connected()).toBe(true);
  await say("away");
  await act(b, () => undefined, 250);
  expect(a.connection.bus.connected()).toBe(false);
  await act(b, () => undefined, 600);
  expect(a.connection.bus.connected()).toBe(true);
  await say("after");
  expect(a.heard).toEqual(["before", "after"]);
});

test("a stalled connection loses nothing and delivers in order", async () => {
  const { peers, act, listen } = await connected("a", "b");
  const [a, b] = peers as [(typeof peers)[0], (typeof peers)[0]];
  await listen(a, "mesh.main.heartbeat.*.*");
  a.connection.stall(500, "down");
  await act(b, () => {
    for (const text of ["1", "2"]) b.connection.bus.nc.publish("mesh.main.heartbeat.L0.n1", text);
  });
  expect(a.heard).toEqual([]);
  await act(b, () => b.connection.bus.nc.publish("mesh.main.heartbeat.L0.n1", "3"), 500);
  expect(a.heard).toEqual(["1", "2", "3"]);
});
