import { jetstream } from "@nats-io/jetstream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { MeshClient } from "../../client/index.ts";
import { connectBus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { eventually } from "../kit/mesh.ts";
import { startUpgradableFleet, type UpgradableFleet } from "../kit/upgradable-fleet.ts";

/**
 * A fleet of real agents on a broker with permissions, upgraded by the real command over the bus. Root's part is the product's own; posed are
 * the service manager and the program's file (test/kit/upgradable-fleet.ts).
 */

const onLinux = test.runIf(process.platform === "linux");
const IDS = ["n1", "n2", "n3"];
let fleet: UpgradableFleet;
let client: MeshClient;
const events: { node_id: string; outcome: string }[] = [];

beforeAll(async () => {
  if (process.platform !== "linux") return;
  fleet = await startUpgradableFleet(IDS, "1.0.0");
  client = new MeshClient(await connectBus("test", fleet.operator, createLog("test", "silent")));
  const { bus, nodes } = client;
  bus.listen(bus.subjects.eventsOf("node_upgraded", "none"), (msg) => void events.push(msg.json()));
  nodes.list();
  await eventually("all speak", () => nodes.list().length === IDS.length, 30_000);
});
afterAll(async () => {
  await client?.close();
  await fleet?.[Symbol.asyncDispose]();
});

const installed = () => fleet.nodes.map((node) => node.version());
const starts = () => fleet.nodes.map((node) => node.starts());
async function upgrade(...args: string[]) {
  const quick = ["--soak", "0.2", "--settle", "20", "--yes", "--json"];
  const { code, err, out } = await fleet.run("upgrade", ...quick, ...args);
  const lines = out.split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
  return { code, err, plan: lines[0]?.["plan"], steps: lines.slice(1, -1), end: lines.at(-1) };
}

onLinux("a piece that was tampered with on the bus changes nothing on any node", async () => {
  const { file, sha256 } = await fleet.build("1.0.5");
  expect(await fleet.run("release", "add", file)).toMatchObject({ code: 0, out: expect.stringContaining("1.0.5") });
  const { nc, subjects } = client.bus;
  await jetstream(nc).publish(subjects.releaseChunk(sha256, "1"), new Uint8Array(256 * 1024).fill(7));
  const { code, end } = await upgrade();
  expect([code, end]).toMatchObject([
    1,
    { end: "stopped", why: expect.stringContaining("SHA-256 differs"), upgraded: [], trouble: [], left: ["n2", "n3"] },
  ]);
  expect([installed(), starts()]).toEqual([Array(3).fill("1.0.0"), [1, 1, 1]]);
  expect(await fleet.run("release", "rm", "1.0.5")).toMatchObject({ code: 0 });
});

onLinux("a canary that does not come up goes back by itself, and no other node is touched", async () => {
  const { file } = await fleet.build("2.0.0");
  fleet.broken.add("2.0.0");
  await fleet.run("release", "add", file);
  await fleet.run("node", "cordon", "n2", "--reason", "new disk");
  const { code, end, plan } = await upgrade("--canary", "n2", "--wait", "6");
  expect(plan).toMatchObject({ version: "2.0.0", batches: [["n2"], ["n1"], ["n3"]] });
  expect([code, end]).toMatchObject([
    1,
    {
      end: "stopped",
      rolledBack: [{ node: "n2", why: expect.stringContaining("1.0.0 is back and runs") }],
      trouble: [],
      left: ["n1", "n3"],
    },
  ]);
  expect([installed(), starts()]).toEqual([Array(3).fill("1.0.0"), [1, 3, 1]]);
  await eventually("recorded", () => events.length > 0);
  expect(events).toMatchObject([
    { node_id: "n2", outcome: "rolled_back", problem: "not_healthy", from: "1.0.0", to: "2.0.0" },
  ]);
});

onLinux("a good release goes to one, then to the others, and who was cordoned stays so", async () => {
  const { file } = await fleet.build("2.0.1");
  await fleet.run("release", "add", file);
  const { code, end, steps } = await upgrade("--batch", "2", "--wait", "30");
  expect([code, end]).toMatchObject([0, { end: "done", rolledBack: [], trouble: [], left: [] }]);
  expect([installed(), starts()]).toEqual([Array(3).fill("2.0.1"), [2, 4, 2]]);
  expect(steps.filter(({ step }) => step === "batch")).toMatchObject([{ canary: true }, { nodes: ["n2", "n3"] }]);
  const seen = client.nodes.list().map(({ record: { node_id, status, version } }) => [node_id, version, status]);
  expect(seen).toEqual([
    ["n1", "2.0.1", "healthy"],
    ["n2", "2.0.1", "cordoned"],
    ["n3", "2.0.1", "healthy"],
  ]);
  await eventually("recorded", () => events.filter(({ outcome }) => outcome === "healthy").length === 3);
  const again = await fleet.run("upgrade", "--dry-run");
  expect(again).toMatchObject({ code: 0, out: "nothing to do for 2.0.1\nthere already: n1, n2, n3" });
});
