import { headers } from "@nats-io/nats-core";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { NodeEntry, type NodeEntry as Entry } from "../../bus-schemas/index.ts";
import { NodesBucket } from "../../cli/bus/nodes-bucket.ts";
import { connectBus, type Bus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { startTestBus, type TestBus } from "../kit/bus.ts";

let server: TestBus;
beforeAll(async () => {
  server = await startTestBus();
});
afterAll(() => server.stop());

let cells = 0;
/** The buckets of two keepers of one cell. */
async function keepers(): Promise<{ bus: Bus; one: NodesBucket; two: NodesBucket }> {
  const { url, user, pass: password } = server;
  const bus = await connectBus("keeper", { url, user, password, cell: `c${cells++}` }, createLog("test", "silent"));
  onTestFinished(() => bus.drain());
  return { bus, one: await NodesBucket.open(bus), two: await NodesBucket.open(bus) };
}

const entry = (node_id: string, state: Entry["state"] = "pending"): Entry =>
  NodeEntry.parse({
    node_id,
    layer: "L1",
    state,
    join_key: null,
    join_expires_unix_ms: null,
    public_key: null,
    by: "ada",
    reason: null,
    changed_unix_ms: Date.parse("2026-11-25"),
  });

test("what one keeper writes, the other reads, the newest of each node", async () => {
  const { one, two } = await keepers();
  await one.put(entry("a"));
  await one.put(entry("b"));
  await one.put(entry("a", "joined"));
  expect(two.entries).toEqual([]);
  await two.refresh();
  expect(two.entries.toSorted((x, y) => x.node_id.localeCompare(y.node_id))).toEqual([
    entry("a", "joined"),
    entry("b"),
  ]);
  expect(two.find("a")).toEqual(one.find("a"));
  expect(two.find("c")).toBeUndefined();
});

test("of two keepers that saw the same entry one may change it; the other is told, and may after a look", async () => {
  const { one, two } = await keepers();
  await one.put(entry("a"));
  await two.refresh();
  const outcomes = await Promise.allSettled([one.put(entry("a", "joined")), two.put(entry("a", "revoked"))]);
  expect(outcomes.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
  expect(outcomes.find(({ status }) => status === "rejected")).toMatchObject({ reason: { code: "conflict" } });
  await Promise.all([one.refresh(), two.refresh()]);
  expect(one.find("a")).toEqual(two.find("a"));
  await two.put(entry("a", "revoked"));
  await one.refresh();
  expect(one.find("a")?.state).toBe("revoked");
});

test("a node that neither has seen is made once", async () => {
  const { one, two } = await keepers();
  const outcomes = await Promise.allSettled([one.put(entry("a")), two.put(entry("a"))]);
  expect(outcomes.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
});

test.each([
  ["garbage", "{"],
  ["null", "null"],
  ["an entry with a field that is none", JSON.stringify({ ...entry("a"), layer: "L9" })],
  ["another node's entry", JSON.stringify(entry("b", "joined"))],
])("%s under a node's key takes its right away, and can be written over", async (_, text) => {
  const { bus, one } = await keepers();
  await one.put(entry("a", "joined"));
  bus.nc.publish(`${bus.subjects.nodesBucket.prefix}a`, text);
  await bus.nc.flush();
  await one.refresh();
  expect(one.entries).toEqual([]);
  await one.put(entry("a"));
  expect(one.entries).toEqual([entry("a")]);
});

test("a key that was deleted by hand is no node, and can be written again", async () => {
  const { bus, one, two } = await keepers();
  await one.put(entry("a", "joined"));
  const marker = headers();
  marker.set("KV-Operation", "DEL");
  bus.nc.publish(`${bus.subjects.nodesBucket.prefix}a`, "", { headers: marker });
  await bus.nc.flush();
  await Promise.all([one.refresh(), two.refresh()]);
  expect([one.entries, two.entries]).toEqual([[], []]);
  await two.put(entry("a"));
  await one.refresh();
  expect(one.find("a")).toEqual(entry("a"));
});
