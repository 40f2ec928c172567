import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { NodeRecord, NodeRecordInput } from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import { FakeBus, nodeRecord } from "../test/kit/router-parts.ts";
import { takesJobs, NodeWatcher } from "./nodes.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["performance"] }));
afterEach(() => vi.useRealTimers());

function setup() {
  const bus = new FakeBus();
  const listen = bus.listen.bind(bus);
  let listening = 0;
  bus.listen = (subject, handler) => {
    listening++;
    return { ...listen(subject, handler), unsubscribe: () => listening-- } as never;
  };
  const nodes = new NodeWatcher(bus as unknown as Bus);
  const beat = (nodeId: string, overrides: Partial<NodeRecordInput> = {}) => {
    const record = nodeRecord(nodeId, overrides);
    bus.deliver(bus.subjects.heartbeat(record.layer, nodeId), record);
  };
  const states = () => Object.fromEntries(nodes.list().map(({ record, state }) => [record.node_id, state]));
  return { bus, nodes, beat, states, listening: () => listening };
}

test("nodes are listed by name with what they last said and how long ago", () => {
  const { nodes, beat } = setup();
  beat("b");
  vi.advanceTimersByTime(400);
  beat("a", { models: ["tiny"] });
  vi.advanceTimersByTime(100);
  expect(nodes.list().map(({ record, seenAgoMs }) => [record.node_id, record.models, Math.round(seenAgoMs)])).toEqual([
    ["a", ["tiny"], 100],
    ["b", ["llama3.1-8b"], 500],
  ]);
});

test("a node's own word is its state, and leaving stays leaving however long it is silent", () => {
  const { beat, states } = setup();
  for (const status of ["healthy", "degraded", "draining", "cordoned", "suspended", "leaving"] as const)
    beat(status, { status });
  expect(states()).toEqual({
    healthy: "ready",
    degraded: "suspended",
    draining: "draining",
    cordoned: "cordoned",
    suspended: "suspended",
    leaving: "left",
  });
  vi.advanceTimersByTime(4000);
  expect(states()).toMatchObject({ healthy: "lost", cordoned: "lost", leaving: "left" });
});

test("three heartbeats missed, by the node's own interval, are a lost node; one more word brings it back", () => {
  const { beat, states } = setup();
  beat("fast");
  beat("slow", { interval_ms: 10_000 });
  beat("mad", { interval_ms: 0 });
  vi.advanceTimersByTime(3299);
  expect(states()).toEqual({ fast: "ready", slow: "ready", mad: "lost" });
  vi.advanceTimersByTime(2);
  expect(states()).toMatchObject({ fast: "lost", slow: "ready" });
  beat("fast");
  expect(states()).toMatchObject({ fast: "ready" });
});

test("a node that is gone for ten minutes is forgotten", () => {
  const { beat, states } = setup();
  beat("gone");
  vi.advanceTimersByTime(10 * 60_000);
  expect(states()).toEqual({ gone: "lost" });
  vi.advanceTimersByTime(1);
  expect(states()).toEqual({});
});

test("lies and garbage are not listed", () => {
  const { bus, states } = setup();
  bus.deliver("mesh.main.heartbeat.L1.other", nodeRecord("n1"));
  bus.deliver("mesh.main.heartbeat.L0.n1", nodeRecord("n1"));
  bus.deliver("mesh.main.heartbeat.L1.n1", { ...nodeRecord("n1"), hardware: { memory_gb: -1 } });
  bus.deliver("mesh.main.heartbeat.L1.n1", new Uint8Array([0xff]));
  expect(states()).toEqual({});
});

test("ready resolves with the first node that takes jobs and suits, known or coming", async () => {
  const { nodes, beat } = setup();
  beat("tired", { status: "cordoned" });
  const anyone = nodes.ready(() => true);
  const big = nodes.ready((record: NodeRecord) => record.models.includes("big"));
  beat("n1");
  beat("n2", { models: ["big"] });
  expect([(await anyone).node_id, (await big).node_id]).toEqual(["n1", "n2"]);
  expect((await nodes.ready(() => true)).node_id).toBe("n1");
});

test("ready rejects with the signal's reason, and a lost node is not ready", async () => {
  const { nodes, beat } = setup();
  beat("n1");
  vi.advanceTimersByTime(5000);
  const abort = new AbortController();
  const waiting = nodes.ready(() => true, abort.signal);
  abort.abort(new Error("enough"));
  await expect(waiting).rejects.toThrow("enough");
  await expect(nodes.ready(() => true, AbortSignal.abort(new Error("before")))).rejects.toThrow("before");
});

test("listeners hear each heartbeat until they go or the watcher closes", () => {
  const { nodes, beat, listening } = setup();
  const heard: string[] = [];
  const stop = nodes.onChange(({ node_id: id }) => heard.push(id));
  beat("a");
  stop();
  beat("b");
  nodes.onChange(({ node_id: id }) => heard.push(id));
  nodes.close();
  beat("c");
  expect(heard).toEqual(["a"]);
  expect(listening()).toBe(0);
});

test("a node without a model joins, one without a free slot is busy, and both take jobs", () => {
  const { beat, states } = setup();
  beat("new", { models: [], served_models: [] });
  beat("full", { load: { slots: 2, running: 2, queued: 1, queue_limit: 8 } });
  expect(states()).toEqual({ new: "joining", full: "busy" });
  expect(Object.values(states()).every((state) => takesJobs(state))).toBe(true);
});

test("a node whose connection the broker lost is disconnected until it is heard again; only who may asks for that", () => {
  const { bus, beat, states, nodes } = setup();
  beat("a");
  bus.deliver("mesh.main.node.gone.a", { node_id: "a" });
  expect(states()).toEqual({ a: "ready" });
  nodes.watchConnections();
  bus.deliver("mesh.main.node.gone.a", { node_id: "b" });
  expect(states()).toEqual({ a: "ready" });
  bus.deliver("mesh.main.node.gone.a", { node_id: "a", reason: "Client Closed" });
  expect(states()).toEqual({ a: "disconnected" });
  beat("a");
  expect(states()).toEqual({ a: "ready" });
});

test("a node whose machine sleeps is asleep, however long it is silent, and not disconnected", () => {
  const { bus, beat, states, nodes } = setup();
  nodes.watchConnections();
  beat("a", { status: "suspended", status_reason: "about to sleep", sleep: { mac: "02:00:00:00:00:01" } });
  bus.deliver("mesh.main.node.gone.a", { node_id: "a", reason: "Stale Connection" });
  expect(states()).toEqual({ a: "asleep" });
});
