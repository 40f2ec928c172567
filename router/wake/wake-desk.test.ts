import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { WakeReply } from "../../bus-schemas/index.ts";
import { wakingRouter } from "../../test/kit/sleep-parts.ts";
import { WakeDesk } from "./wake-desk.ts";

const INBOX = "_INBOX.operator.1";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A router with its desk, a machine that sleeps and a neighbour; the policy wakes nobody by itself. */
async function desk() {
  const kit = await wakingRouter(undefined, {});
  const stop = new AbortController();
  const { bus, fleet, rejections } = kit.parts;
  new WakeDesk({ bus, fleet, sleepers: kit.sleepers, wakes: kit.wakes, rejections }).start(stop.signal);
  kit.neighbour("n2");
  kit.awake("n1");
  kit.sleeps("n1", 1);
  await vi.advanceTimersByTimeAsync(0);
  const ask = async (body: unknown = { node_id: "n1", by: "ada" }, reply = INBOX) => {
    kit.bus.deliver("mesh.main.node.wake", body, { reply });
    await vi.advanceTimersByTimeAsync(0);
  };
  const replies = () => kit.bus.on(INBOX).map((answer) => WakeReply.parse(answer.json()));
  return { ...kit, ask, replies, stop };
}

test("an operator hears once a second how far the machine is, and how long it took", async () => {
  const { ask, awake, replies, woken } = await desk();
  await ask();
  await vi.advanceTimersByTimeAsync(2000);
  expect(replies().map(({ done, neighbour, waited_seconds }) => [done, neighbour, waited_seconds])).toEqual([
    [false, "n2", 0],
    [false, "n2", 1],
    [false, "n2", 2],
  ]);
  awake("n1", { boot_id: "boot-2" });
  await vi.advanceTimersByTimeAsync(1000);
  expect(replies().at(-1)).toMatchObject({ ok: true, done: true, outcome: "ready", waited_seconds: 2, error: null });
  expect(woken()).toMatchObject([{ asked_by: "operator ada", job_id: null }]);
});

test("a machine that does not come up ends the wait", async () => {
  const { ask, replies, wakes } = await desk();
  await ask();
  await vi.advanceTimersByTimeAsync(120_000);
  wakes.sweep();
  await vi.advanceTimersByTimeAsync(1000);
  expect(replies().at(-1)).toMatchObject({ ok: false, done: true, outcome: "not_up", error: { code: "node_lost" } });
});

test("a machine that is awake needs nothing", async () => {
  const { ask, asked, replies } = await desk();
  await ask({ node_id: "n2", by: "ada" });
  expect(replies()).toMatchObject([{ ok: true, done: true, outcome: "awake" }]);
  expect(asked).toEqual([]);
});

test.each([
  ["a machine that nobody knows", { node_id: "n9", by: "ada" }, "not_found"],
  ["a request without its asker", { node_id: "n1" }, "bad_request"],
  ["a node that is no name", { node_id: "n1.>", by: "ada" }, "bad_request"],
])("%s is answered by what is wrong", async (_what, body, code) => {
  const { ask, replies } = await desk();
  await ask(body);
  expect(replies()).toMatchObject([{ ok: false, done: true, error: { code } }]);
});

test("two operators wait for one wake", async () => {
  const { ask, asked, awake, replies } = await desk();
  await ask();
  await ask();
  expect(asked).toHaveLength(1);
  awake("n1", { boot_id: "boot-2" });
  await vi.advanceTimersByTimeAsync(1000);
  expect(replies().filter(({ outcome }) => outcome === "ready")).toHaveLength(2);
});

test("a router that stops lets its operators go; what is no inbox is not answered", async () => {
  const { ask, bus, rejected, replies, stop } = await desk();
  await ask();
  stop.abort();
  await vi.advanceTimersByTimeAsync(0);
  expect(replies().at(-1)).toMatchObject({ ok: false, done: true, error: { code: "draining" } });
  const before = bus.sent.length;
  await ask({ node_id: "n1", by: "ada" }, "mesh.main.job.submit.chat");
  expect(bus.sent.length).toBe(before);
  expect(rejected.at(-1)?.error.field).toBe("reply");
});
