import { expect, test } from "vitest";
import { watched } from "../test/kit/watched-fleet.ts";
import type { Dispatch } from "./dispatch-table.ts";

test("a node that appears joins once, and is ready", () => {
  const { view, beat, events } = watched();
  for (let seq = 0; seq < 3; seq++) beat("a", { seq });
  expect(events.of("node_joined")).toEqual([
    { node_id: "a", layer: "L1", boot_id: "boot-1", hostname: null, models: ["llama3.1-8b"] },
  ]);
  expect(view.readyCount).toBe(1);
  beat("a", { seq: 3, status: "cordoned" });
  expect(view.readyCount).toBe(0);
});

test("an older or repeated heartbeat of the same boot says nothing new", () => {
  const { beat, node } = watched();
  beat("a", { seq: 5 });
  beat("a", { seq: 4, status: "cordoned" });
  beat("a", { seq: 5, status: "cordoned" });
  expect(node("a")?.record.status).toBe("healthy");
  beat("a", { seq: 6, status: "cordoned" });
  expect(node("a")?.record.status).toBe("cordoned");
});

test("a record without a boot id, such as SEED's own, is taken each time", () => {
  const { beat, node, types } = watched();
  beat("a", { boot_id: null });
  beat("a", { boot_id: null, status: "degraded" });
  expect(node("a")?.record.status).toBe("degraded");
  expect(types()).toEqual(["node_joined"]);
});

test("a new boot without a last word: the old one's jobs are lost, and the node joins again", () => {
  const { beat, lost, types, node } = watched();
  beat("a", { seq: 100 });
  beat("a", { seq: 0, boot_id: "boot-2" });
  expect(lost).toEqual(["a"]);
  expect(types()).toEqual(["node_joined", "node_joined"]);
  expect(node("a")?.gone).toBe(false);
});

test("a last word is a leave, told once: no loss, and no job goes there", () => {
  const { view, beat, pass, lost, node, events, types } = watched();
  beat("a");
  beat("a", { seq: 1, status: "leaving", status_reason: "the agent stops" });
  beat("a", { seq: 2, status: "leaving" });
  pass(9000);
  expect(events.of("node_left")).toEqual([{ node_id: "a", layer: "L1", reason: "the agent stops" }]);
  expect(types()).toEqual(["node_joined", "node_left"]);
  expect([lost, node("a")?.gone, view.readyCount]).toEqual([[], true, 0]);
});

const CAN_BE_WOKEN = { mac: "02:00:00:00:00:01", broadcast: "10.0.0.255", ready_in_seconds: null };
const ABOUT_TO_SLEEP = { status: "suspended", status_reason: "about to sleep" } as const;

test("a machine that sleeps leaves and joins: no loss by its silence, no job goes there, and it is ready at its first word", () => {
  const { view, beat, pass, gone, lost, back, node, events, types } = watched();
  for (const id of ["a", "b", "c"]) beat(id);
  const rest = (ms: number, seq: number) => {
    for (let i = 0; i < ms / 1000; i++) {
      for (const id of ["b", "c"]) beat(id, { seq: seq + i });
      pass(1000);
    }
  };
  beat("a", { seq: 1, ...ABOUT_TO_SLEEP, sleep: {} });
  beat("a", { seq: 2, ...ABOUT_TO_SLEEP, sleep: {} });
  expect([node("a")?.gone, view.readyCount]).toEqual([true, 2]);
  rest(9000, 1);
  gone("a");
  rest(60_000, 100);
  expect(events.of("node_left")).toEqual([{ node_id: "a", layer: "L1", reason: "about to sleep" }]);
  expect(types()).not.toContain("node_lost");
  // Its jobs went on elsewhere when the broker lost its connection.
  expect(lost).toEqual(["a"]);
  beat("a", { seq: 3 });
  expect([node("a")?.gone, view.readyCount, back]).toEqual([false, 3, ["a"]]);
});

test("one that can be woken is known for fourteen days, one that nobody can wake for ten minutes", () => {
  const { beat, jump, node } = watched();
  beat("a", { ...ABOUT_TO_SLEEP, sleep: CAN_BE_WOKEN });
  beat("b", { ...ABOUT_TO_SLEEP, sleep: {} });
  jump(601_000);
  expect([node("a")?.record.sleep?.mac, node("b")]).toEqual([CAN_BE_WOKEN.mac, undefined]);
  jump(13 * 86_400_000);
  expect(node("a")).toBeDefined();
  jump(2 * 86_400_000);
  expect(node("a")).toBeUndefined();
});

test("jobs that a node still holds well after its last word are lost, and so are they when it starts anew", () => {
  const { beat, pass, lost } = watched();
  beat("a");
  beat("b");
  beat("a", { seq: 1, status: "leaving" });
  beat("b", { seq: 1, status: "leaving" });
  beat("b", { seq: 0, boot_id: "boot-2" });
  expect(lost).toEqual(["b"]);
  pass(10_000);
  expect(lost).not.toContain("a");
  pass(1000);
  expect(lost.filter((id) => id === "a")).toEqual(["a"]);
});

test("the last word of a node never seen is no leave", () => {
  const { beat, types, node } = watched();
  beat("a", { status: "leaving" });
  expect(types()).toEqual([]);
  expect(node("a")?.gone).toBe(true);
});

test("a node is lost after three missed heartbeats of its own rhythm, not before", () => {
  const { beat, pass, lost, events } = watched();
  beat("a");
  beat("slow", { interval_ms: 10_000 });
  pass(3100);
  expect(lost).toEqual([]);
  pass(100);
  expect(lost).toEqual(["a"]);
  pass(10_000);
  expect(events.of("node_lost")).toEqual([{ node_id: "a", layer: "L1", silent_ms: 3200, by: "silence" }]);
});

test("a node that recovers is used at once and joins again", () => {
  const { view, beat, pass, node, types } = watched();
  beat("a");
  pass(4000);
  expect(node("a")?.gone).toBe(true);
  beat("a", { seq: 9 });
  expect([node("a")?.gone, view.readyCount]).toEqual([false, 1]);
  expect(types()).toEqual(["node_joined", "node_lost", "node_joined"]);
});

test("a router that slept does not call its nodes lost before they can be heard again", () => {
  const { beat, pass, jump, lost, node } = watched();
  beat("a");
  beat("dead");
  pass(1000);
  jump(60_000);
  expect(lost).toEqual([]);
  beat("a", { seq: 1 });
  pass(2000);
  expect(lost).toEqual(["dead"]);
  expect(node("a")?.gone).toBe(false);
});

test("an event that cannot be recorded does not keep a lost node's jobs from ending", () => {
  const { beat, pass, lost, events } = watched();
  beat("a");
  events.failure = Object.assign(new Error("full"), { code: "audit_unavailable" }) as never;
  expect(() => pass(4000)).toThrow("full");
  expect(lost).toEqual(["a"]);
});

test("a node gone for ten minutes is forgotten", () => {
  const { view, beat, pass } = watched();
  beat("a");
  pass(600_000);
  expect(view.fleet.size).toBe(1);
  pass(500);
  expect(view.fleet.size).toBe(0);
});

test("own dispatches count until the node's word or heartbeat has them in", () => {
  const { view, beat, node } = watched();
  beat("a");
  view.onDispatch("a");
  view.onDispatch("a");
  expect(node("a")).toMatchObject({ ownInFlight: 2, dispatchedSinceHeartbeat: 2 });
  view.onLoad("a", { slots: 2, running: 2, queued: 0, queue_limit: 2, pending_prefill_tokens: 0 });
  expect(node("a")).toMatchObject({ ownInFlight: 2, dispatchedSinceHeartbeat: 0, record: { load: { running: 2 } } });
  for (const model of [undefined, "llama3.1-8b"]) expect(view.fleet.pool("L1", model)?.jobs).toBe(2);
  view.onDispatch("a");
  beat("a", { seq: 1 });
  expect(node("a")).toMatchObject({ ownInFlight: 3, dispatchedSinceHeartbeat: 0 });
  for (let i = 0; i < 5; i++) view.onDone("a");
  expect(node("a")?.ownInFlight).toBe(0);
});

test("what is said of a node that is not known changes nothing", () => {
  const { view } = watched();
  const load = { slots: 1, running: 0, queued: 0, queue_limit: 0, pending_prefill_tokens: 0 };
  view.onDispatch("x");
  view.onDone("x");
  view.onLoad("x", load);
  view.onRefused("x");
  view.onSilent("x");
  view.onGone("x");
  expect(view.fleet.size).toBe(0);
});

test("a refusal and a silence score a node down; a hiccup does not take it out", () => {
  for (const say of ["onRefused", "onSilent"] as const) {
    const { view, beat, node } = watched();
    beat("a");
    view[say]("a");
    expect(node("a")).toMatchObject({ correction: 7 / 3, gone: false });
  }
});

test("observed times correct the prediction: the first token for chat, the end for batches, nothing for a cancel", () => {
  const timing = { queued_ms: 100, ttft_ms: 200, total_ms: 3000 };
  const cases: [boolean, "finished" | "failed" | "cancelled", number | null, number][] = [
    [false, "finished", 200, 1],
    // (3000 + 2000) / (1000 + 2000), for the damping of peak-ewma.ts.
    [true, "finished", 200, 5 / 3],
    [false, "failed", 200, 7000 / 2300],
    [false, "cancelled", 200, 1],
    [true, "finished", null, 5 / 3],
  ];
  for (const [batch, status, ttft_ms, correction] of cases) {
    const { view, beat, node } = watched();
    beat("a");
    const predicted = batch ? 1000 : 300;
    const dispatch = { nodeId: "a", decision: { score: { predicted_ms: predicted } }, request: { batch } };
    view.observe(dispatch as unknown as Dispatch, { ...timing, ttft_ms }, status);
    expect(node("a")?.correction).toBeCloseTo(correction, 6);
  }
});
