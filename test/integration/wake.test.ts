import { createSocket } from "node:dgram";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { WakeReply, type EventData } from "../../bus-schemas/index.ts";
import { connectBus, type Bus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { openSleepBucket, type SleepBucket } from "../../service/sleep-bucket.ts";
import { SHARED_MODEL, answerOf, startFailoverMesh, type FailoverMesh, type Machine } from "../kit/failover-mesh.ts";
import { eventually } from "../kit/mesh.ts";
import { POSED_MAC } from "../kit/posed-sleep.ts";

/**
 * A whole mesh of two routers with a machine that sleeps and its neighbour. The machine's hardware is played here: a listener
 * on UDP starts its agent again when it hears the magic packet.
 */

const POSED = fileURLToPath(new URL("../kit/posed-sleeper.child.ts", import.meta.url));
const PACKET = "ff".repeat(6) + POSED_MAC.replaceAll(":", "").repeat(16);

let mesh: FailoverMesh;
let operator: Bus;
let desk: Machine;
let bucket: SleepBucket;
let wakesUp = true;
let starting: Promise<void> | undefined;
const packets: string[] = [];
const woken: EventData<"node_woken">[] = [];
const card = createSocket("udp4");

beforeAll(async () => {
  await new Promise<void>((bound) => card.bind(0, "127.0.0.1", bound));
  card.on("message", (bytes) => {
    packets.push(bytes.toString("hex"));
    if (wakesUp && packets.at(-1) === PACKET) starting ??= desk.restart();
  });
  const env = { TEST_MAGIC_PORT: String(card.address().port) };
  mesh = await startFailoverMesh(["desk-1", "rack-1"], ["--routers", "2"], env, { entry: POSED });
  desk = mesh.machine("desk-1");
  operator = await connectBus("operator", mesh.mesh.address, createLog("test", "silent"));
  bucket = await openSleepBucket(operator);
  operator.listen(operator.subjects.eventsOf("node_woken", "none"), (msg) => void woken.push(msg.json()));
  await operator.nc.flush();
  // A neighbour that takes no jobs is one all the same.
  await cli("node", "cordon", "rack-1");
});
afterAll(async () => {
  await starting;
  await operator.drain();
  await mesh[Symbol.asyncDispose]();
  await new Promise<void>((closed) => card.close(() => closed()));
});

async function cli(...args: string[]): Promise<string> {
  const { code, out, err } = await mesh.mesh.run(...args);
  if (code !== 0) throw new Error(`${args.join(" ")}: ${err}`);
  return out;
}

async function setPolicy(wakeOnLan: string): Promise<void> {
  const file = path.join(mesh.mesh.home, "wake.yaml");
  writeFileSync(file, `routing_policy:\n  wake_on_lan: ${wakeOnLan}\n`);
  await cli("policy", "apply", file);
}

const state = () => mesh.client.nodes.list().find(({ record }) => record.node_id === "desk-1")?.state;
/** What routers wrote down of it. */
const written = async () => {
  await bucket.refresh();
  return bucket.find("desk-1");
};

/** It says that it will sleep, and nothing runs on it any more. */
async function fallAsleep(): Promise<void> {
  await starting;
  starting = undefined;
  packets.length = 0;
  desk.agent.write("sleep\n");
  await eventually("asleep", () => state() === "asleep");
  desk.agent.kill("SIGKILL");
  await desk.agent.exited;
  await eventually("written down", async () => (await written())?.asleep !== null);
}

const job = (security_level: string, timeout_ms = 60_000) =>
  mesh.client.submit({ prompt: "words=5", model: SHARED_MODEL, security_level, timeout_ms });

const tried: string[] = [];
/** As its caller comes back, once the machine is up: an agent that has just started on a busy one may be too slow for its first job. */
async function served(level: string): ReturnType<typeof job> {
  const result = await job(level);
  tried.push(result.job_id);
  return result.error?.retryable === true && woken.length > 0 ? served(level) : result;
}

test("by default no job wakes a machine: it is refused, for who can come back", async () => {
  await fallAsleep();
  expect(await cli("nodes")).toMatch(/desk-1 .*asleep, never woken yet/);
  expect(await job("P2")).toMatchObject({ status: "refused", error: { code: "no_node", retryable: true } });
  expect([packets, woken]).toEqual([[], []]);
});

test("where the policy allows it, jobs wait for a machine that is woken for them, a sealed one as well, by one order", async () => {
  await setPolicy("{ enabled: true }");
  const results = await Promise.all(["P2", "P2", "P0", "P1"].map(served));
  const told = results.map(({ error, message, node_id }) => ({ error, node_id, text: message?.content }));
  expect(told).toEqual(Array(4).fill({ error: null, node_id: "desk-1", text: answerOf(5) }));
  await eventually("recorded", () => woken.length > 0);
  expect(woken).toMatchObject([{ node_id: "desk-1", neighbour: "rack-1", outcome: "ready", not_before: null }]);
  expect(woken[0]?.asked_by).toMatch(/^router /);
  expect(tried).toContain(woken[0]?.job_id);
  // Three times, to the machine's own address; nobody hears loopback's broadcasts there.
  expect(packets).toEqual([PACKET, PACKET, PACKET]);
});

test("a job with too little time is told when to come back, and finds the machine awake then", async () => {
  await fallAsleep();
  const seconds = (woken[0]?.after_ms ?? 0) / 1000;
  expect(await written()).toMatchObject({ ready_in_seconds: seconds });
  expect(await cli("status")).toMatch(new RegExp(`desk-1: asleep, ready in ~${Math.round(seconds)} s`));
  const refused = await job("P2", 1000);
  expect(refused).toMatchObject({ status: "refused", error: { code: "no_node", retryable: true } });
  expect(refused.error?.retry_after_ms).toBe(Math.round(seconds * 1000));
  expect(refused.error?.message).toContain("desk-1");
  await eventually("awake", () => state() === "ready", 60_000);
  expect(await job("P2")).toMatchObject({ status: "finished", node_id: "desk-1" });
});

test("an operator wakes a machine whatever the policy says, by routers that started after it fell asleep", async () => {
  await setPolicy("{ enabled: false }");
  await fallAsleep();
  const before = ["router-1", "router-2"].map((name) => mesh.mesh.pid(name));
  for (const pid of before) process.kill(pid, "SIGKILL");
  const routers = () => mesh.mesh.file().processes.filter(({ name }) => name.startsWith("router"));
  await eventually(
    "new routers",
    () => routers().every(({ pid, state: is }) => is === "ready" && pid !== null && !before.includes(pid)),
    60_000,
  );
  const reply = WakeReply.parse(JSON.parse(await cli("node", "wake", "desk-1", "--json")));
  expect(reply).toMatchObject({ ok: true, done: true, outcome: "ready", neighbour: "rack-1" });
  await eventually("recorded", () => woken.length === 3);
  expect(woken[2]).toMatchObject({ outcome: "ready", job_id: null });
  expect(woken[2]?.asked_by).toMatch(/^operator /);
  expect(await cli("node", "wake", "desk-1")).toMatch(/is awake already/);
});

test("a machine that does not come up is said so, and no job wakes it before its time", async () => {
  await setPolicy("{ enabled: true, max_wait_s: 2 }");
  await fallAsleep();
  wakesUp = false;
  const { code, err } = await mesh.mesh.run("node", "wake", "desk-1");
  expect(err).toMatch(/did not come up/);
  expect(code).toBe(1);
  await eventually("recorded", () => woken.length === 4);
  expect(woken[3]).toMatchObject({ outcome: "not_up" });
  expect(Date.parse(woken[3]?.not_before ?? "")).toBeGreaterThan(Date.now());
  const heard = packets.length;
  expect(await job("P2")).toMatchObject({ status: "refused", error: { code: "no_node" } });
  expect(packets.length).toBe(heard);
  expect(await cli("nodes")).toMatch(/did not come up, so not woken for jobs before/);
  const unknown = await mesh.mesh.run("node", "wake", "nobody");
  expect([unknown.code, unknown.err]).toEqual([1, expect.stringMatching(/nobody is known to sleep/)]);
});
