import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { MeshError } from "../../bus-schemas/index.ts";
import { routeRequest } from "../../test/kit/routing.ts";
import { CARD, FakeSleepBucket, NETWORK, wakingRouter } from "../../test/kit/sleep-parts.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const settled = () => vi.advanceTimersByTimeAsync(0);
const request = (overrides: Parameters<typeof routeRequest>[0] = {}) =>
  routeRequest({ model: "llama3.1-8b", deadlineMs: Date.now() + 60_000, ...overrides });

/** A router, a neighbour that is awake, and a machine that sleeps. */
async function asleep(...args: Parameters<typeof wakingRouter>) {
  const kit = await wakingRouter(...args);
  kit.neighbour("n2");
  kit.awake("n1");
  kit.sleeps("n1", 1);
  await settled();
  return kit;
}

test("a machine is woken for a job that it could take, by a neighbour of its network; when it is ready that is learned", async () => {
  const { asked, awake, bucket, wakes, woken } = await asleep();
  expect(wakes.help(request(), 0)).toEqual({ nodeId: "n1", readyMs: 20_000, inTime: true });
  await settled();
  const { mac, address } = CARD;
  expect(asked).toMatchObject([{ neighbour: "n2", node_id: "n1", mac, network: NETWORK, address }]);
  await vi.advanceTimersByTimeAsync(9000);
  expect(wakes.help(request(), 9000)).toMatchObject({ readyMs: 11_000, inTime: true });
  awake("n1", { boot_id: "boot-2" });
  await settled();
  expect(woken()).toMatchObject([
    { node_id: "n1", neighbour: "n2", asked_by: "router one", outcome: "ready", after_ms: 9000, not_before: null },
  ]);
  expect(bucket.stored.get("n1")?.entry).toMatchObject({ asleep: null, wake: null, ready_in_seconds: 9 });
  expect(asked).toHaveLength(1);
});

test("of several routers that want the same machine one asks, and one records how it ended", async () => {
  const bucket = new FakeSleepBucket();
  const routers = [await asleep(bucket), await asleep(bucket), await asleep(bucket)];
  for (const { sleepers } of routers) await sleepers.look();
  for (const { wakes } of routers) for (let i = 0; i < 3; i++) expect(wakes.help(request(), 0)?.inTime).toBe(true);
  await settled();
  expect(routers.flatMap(({ asked }) => asked)).toHaveLength(1);
  for (const { awake } of routers) awake("n1", { boot_id: "boot-2" });
  await settled();
  // Two have not read of the wake yet; the next heartbeat finds it ended.
  for (const { awake } of routers) awake("n1", { boot_id: "boot-2", seq: 1 });
  await settled();
  expect(routers.flatMap(({ woken }) => woken())).toHaveLength(1);
});

test("a router that starts knows who sleeps, and how long it takes to wake, from those before it", async () => {
  const former = await asleep();
  former.wakes.help(request(), 0);
  await vi.advanceTimersByTimeAsync(7000);
  former.awake("n1", { boot_id: "boot-2" });
  await settled();
  former.sleeps("n1", 1);
  await settled();
  const { fleet, neighbour, wakes } = await wakingRouter(former.bucket);
  neighbour("n2");
  expect(fleet.fleet.view("n1")).toMatchObject({ gone: true });
  expect(wakes.help(request(), 0)).toEqual({ nodeId: "n1", readyMs: 7000, inTime: true });
});

test.each<[string, () => ReturnType<typeof asleep>, object]>([
  ["the policy says nothing of it", () => asleep(undefined, {}), {}],
  ["P0 would go there in clear", asleep, { dataClass: "P0", encrypted: false }],
  ["it cannot take the job", asleep, { model: "llama3.1-70b" }],
])("nobody is woken where %s", async (_why, start, change) => {
  const { asked, wakes } = await start();
  expect(wakes.help(request(change), 0)).toBeUndefined();
  await settled();
  expect(asked).toEqual([]);
});

test.each([
  ["it did not say how", { mac: null }],
  ["it would take no jobs awake", { closed_because: "the node is suspended: its owner has paused it" }],
  ["nobody else is in its network", { network: "10.0.0.0/8" }],
])("nobody is woken where %s", async (_why, card) => {
  const { asked, awake, neighbour, sleeps, wakes } = await wakingRouter();
  neighbour("n2");
  awake("n1");
  sleeps("n1", 1, card);
  await settled();
  expect(wakes.help(request(), 0)).toBeUndefined();
  await settled();
  expect(asked).toEqual([]);
});

test("a job whose time is too short does not wait, and has the machine woken for whoever comes back", async () => {
  const { asked, wakes } = await asleep();
  expect(wakes.help(request({ deadlineMs: Date.now() + 10_000 }), 0)).toEqual({
    nodeId: "n1",
    readyMs: 20_000,
    inTime: false,
  });
  await settled();
  expect(asked).toHaveLength(1);
});

test("no job waits longer for a machine than the policy says", async () => {
  const { wakes } = await asleep(undefined, { wake_on_lan: { enabled: true, max_wait_s: 30 } });
  expect(wakes.help(request(), 10_000)?.inTime).toBe(true);
  await settled();
  expect(wakes.help(request(), 10_001)?.inTime).toBe(false);
});

test("a machine that does not come up is said so once, and no job wakes it before its time; an operator may", async () => {
  const { asked, neighbour, wakes, woken } = await asleep();
  wakes.help(request(), 0);
  await vi.advanceTimersByTimeAsync(120_000);
  neighbour("n2", 1);
  wakes.sweep();
  wakes.sweep();
  await settled();
  expect(woken()).toMatchObject([{ outcome: "not_up", after_ms: 120_000 }]);
  expect(Date.parse(woken()[0]?.not_before ?? "") - Date.now()).toBe(300_000);
  expect(wakes.help(request(), 0)).toBeUndefined();
  await wakes.order("n1", { by: "operator ada", jobId: null });
  expect(asked).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(120_000);
  wakes.sweep();
  await settled();
  expect(woken()[1]).toMatchObject({ asked_by: "operator ada", job_id: null });
  expect(Date.parse(woken()[1]?.not_before ?? "") - Date.now()).toBe(600_000);
});

test("a machine that comes up and takes no jobs is said so", async () => {
  const { awake, wakes, woken } = await asleep();
  wakes.help(request(), 0);
  await settled();
  awake("n1", { boot_id: "boot-2", status: "suspended", status_reason: "its user is active" });
  await vi.advanceTimersByTimeAsync(120_000);
  wakes.sweep();
  await settled();
  expect(woken()).toMatchObject([{ outcome: "not_ready", reason: "its user is active" }]);
});

test("a neighbour that cannot, or says nothing, is followed by the next; when none could, that is how it ended", async () => {
  const { asked, neighbour, state, wakes, woken, bucket } = await asleep();
  for (const id of ["n3", "n4", "n5"]) neighbour(id);
  await vi.advanceTimersByTimeAsync(1000);
  const error = new MeshError("not_supported", "no magic packet could be sent from here: ENETUNREACH").toWire();
  state.answer = (id) => (id === "n2" ? "silent" : id === "n3" ? { ok: false, error } : {});
  await wakes.order("n1", { by: "operator ada", jobId: null });
  expect(asked.map((each) => each.neighbour)).toEqual(["n2", "n3", "n4"]);
  expect(new Set(asked.map(({ wake_id }) => wake_id)).size).toBe(1);
  expect(bucket.stored.get("n1")?.entry.wake?.neighbour).toBe("n4");
  await vi.advanceTimersByTimeAsync(120_000);
  wakes.sweep();
  await settled();
  state.answer = () => ({ ok: false, error });
  await expect(wakes.order("n1", { by: "operator ada", jobId: null })).rejects.toMatchObject({ code: "not_supported" });
  // One failure before: another neighbour is the first this time.
  expect(asked[3]?.neighbour).toBe("n3");
  expect(woken().at(-1)).toMatchObject({ outcome: "not_asked", after_ms: 0 });
});

test("what cannot be written down is not ordered, and not tried again for each job", async () => {
  const { asked, bucket, wakes } = await asleep();
  bucket.failure = new Error("no JetStream");
  wakes.help(request(), 0);
  await settled();
  expect(wakes.help(request(), 0)).toBeUndefined();
  expect(asked).toEqual([]);
  bucket.failure = undefined;
  await vi.advanceTimersByTimeAsync(30_000);
  wakes.sweep();
  expect(wakes.help(request(), 0)?.inTime).toBe(true);
});

test("a machine that its owner wakes is no sleeper any more", async () => {
  const { awake, bucket, wakes, woken } = await asleep();
  awake("n1", { seq: 2 });
  await settled();
  expect(bucket.stored.get("n1")?.entry.asleep).toBeNull();
  expect(wakes.help(request(), 0)).toBeUndefined();
  await expect(wakes.order("n1", { by: "operator ada", jobId: null })).rejects.toMatchObject({ code: "not_found" });
  expect(woken()).toEqual([]);
});

test("a router that stops wakes nobody for jobs", async () => {
  const { wakes } = await asleep();
  wakes.stop();
  expect(wakes.help(request(), 0)).toBeUndefined();
});
