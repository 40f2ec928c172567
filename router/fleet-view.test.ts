import { expect, test } from "vitest";
import type { NodeRecordInput } from "../bus-schemas/index.ts";
import { FakeEvents, nodeRecord } from "../test/kit/router-parts.ts";
import type { Dispatch } from "./dispatch-table.ts";
import { FleetView } from "./fleet-view.ts";

/** Wanted time between two sweeps, milliseconds. */
const SWEEP_MS = 100;

/** A fleet view with its own clock; `beat` is a heartbeat, `pass` lets time go by with its sweeps. */
function watched() {
  const events = new FakeEvents();
  let nowMs = 1_000_000;
  let wallAheadMs = 0;
  const view = new FleetView(events as never, { wallMs: () => nowMs + wallAheadMs, steadyMs: () => nowMs });
  const lost: string[] = [];
  view.onLost((nodeId) => lost.push(nodeId));
  const back: string[] = [];
  view.onBack((nodeId) => back.push(nodeId));
  const beat = (nodeId: string, overrides: Partial<NodeRecordInput> = {}) =>
    view.onHeartbeat(nodeRecord(nodeId, overrides), view.nowMs());
  const pass = (ms: number) => {
    for (const end = nowMs + ms; nowMs < end;) {
      nowMs = Math.min(end, nowMs + SWEEP_MS);
      view.sweep(view.nowMs());
    }
  };
  const jump = (ms: number) => {
    nowMs += ms;
    view.sweep(view.nowMs());
  };
  const setClock = (ms: number) => (wallAheadMs = ms);
  const gone = (nodeId: string) => view.onDisconnected(nodeId, view.nowMs());
  const node = (nodeId: string) => view.fleet.view(nodeId);
  const types = () => events.seen.map(({ type }) => type);
  return { view, events, lost, back, beat, pass, jump, setClock, gone, node, types };
}

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

test("the broker's word on a lost connection counts at once, and the node's jobs are lost with it", () => {
  const { beat, gone, lost, node, events, types, view, back } = watched();
  beat("a");
  beat("b");
  gone("a");
  gone("a");
  gone("nobody");
  expect([lost, node("a")?.gone, node("b")?.gone, view.readyCount]).toEqual([["a"], true, false, 1]);
  expect(events.of("node_lost")).toEqual([{ node_id: "a", layer: "L1", silent_ms: 0, by: "disconnect" }]);
  beat("a", { seq: 1 });
  expect([node("a")?.gone, back, lost]).toEqual([false, ["a"], ["a"]]);
  expect(types()).toEqual(["node_joined", "node_joined", "node_lost", "node_joined"]);
});

test("a connection that is lost after the last word ends what the node still ran, and is no second loss", () => {
  const { beat, gone, lost, types } = watched();
  beat("a");
  beat("a", { seq: 1, status: "leaving" });
  expect(lost).toEqual([]);
  gone("a");
  expect([lost, types()]).toEqual([["a"], ["node_joined", "node_left"]]);
});

test("a node that was away and starts anew is no node that is back: it has nothing of before", () => {
  const { beat, gone, back } = watched();
  beat("a");
  gone("a");
  beat("a", { boot_id: "boot-2" });
  expect(back).toEqual([]);
});

test("nodes that fall silent together are not to blame: none is lost, and jobs still go there", () => {
  const { beat, pass, lost, node, view } = watched();
  const names = Array.from({ length: 10 }, (_, i) => `n${i}`);
  const silent = names.slice(0, 4);
  for (const [i, name] of names.entries()) {
    // Heartbeats are spread over their second.
    if (i > 0) pass(100);
    beat(name);
  }
  for (let seq = 1; seq <= 8; seq++) {
    pass(1000);
    for (const name of names) if (!silent.includes(name)) beat(name, { seq });
  }
  expect(lost).toEqual([]);
  expect(silent.map((name) => [node(name)?.gone, node(name)?.excused])).toEqual(silent.map(() => [false, true]));
  expect(view.readyCount).toBe(10);
  // Three come back: the one that does not is lost after all.
  for (const name of silent.slice(1)) beat(name, { seq: 1 });
  pass(100);
  expect(lost).toEqual(["n0"]);
});

test("three of ten that die one after the other are each lost", () => {
  const { beat, pass, lost } = watched();
  const names = Array.from({ length: 10 }, (_, i) => `n${i}`);
  for (let seq = 0; seq < 30; seq++) {
    for (const [i, name] of names.entries()) if (i > 2 || seq < 1 + 8 * i) beat(name, { seq });
    pass(1000);
  }
  expect(lost).toEqual(["n0", "n1", "n2"]);
});

test("a wall clock that is set forward or back makes no node late, and a dead one is still found", () => {
  for (const hourMs of [3_600_000, -3_600_000]) {
    const { beat, pass, lost, setClock, node, events } = watched();
    beat("a");
    beat("dead");
    beat("b");
    beat("c");
    pass(1000);
    setClock(hourMs);
    for (let seq = 1; seq <= 4; seq++) {
      for (const name of ["a", "b", "c"]) beat(name, { seq });
      pass(1000);
    }
    expect([lost, node("a")?.gone]).toEqual([["dead"], false]);
    expect(events.of("node_lost")).toMatchObject([{ silent_ms: 3200 }]);
  }
});

test("a decision of a router that was itself late takes no node for silent", () => {
  const { beat, pass, view, node } = watched();
  beat("a");
  pass(100);
  let nowMs = 0;
  // Its clock goes on while nothing is swept: the first thing that it does then is a decision.
  const late = new FleetView(new FakeEvents() as never, { wallMs: () => nowMs, steadyMs: () => nowMs });
  late.onHeartbeat(nodeRecord("a"), 0);
  late.sweep(0);
  nowMs = 60_000;
  expect(late.nowMs()).toBe(60_000);
  expect(late.fleet.view("a")?.excused).toBe(true);
  expect([view.readyCount, node("a")?.excused]).toEqual([1, false]);
});

test("five failures in a row spare a node for a while; it comes back through one trial", () => {
  const { view, beat, pass, node, events } = watched();
  for (const name of ["a", "b", "c"]) beat(name);
  const keep = (seconds: number, seq: number) => {
    for (let i = 0; i < seconds; i++) {
      for (const name of ["a", "b", "c"]) beat(name, { seq: seq + i });
      pass(1000);
    }
  };
  for (let i = 0; i < 4; i++) view.onFailed("a");
  expect(node("a")?.ejected).toBeUndefined();
  view.onFailed("a");
  expect(node("a")?.ejected).toMatch(/failed 5 jobs in a row/);
  expect(events.of("node_ejected")).toEqual([{ node_id: "a", layer: "L1", failures: 5, for_ms: 5000 }]);
  // A tenth of three is one: the next one stays.
  for (let i = 0; i < 9; i++) view.onFailed("b");
  expect(node("b")?.ejected).toBeUndefined();
  keep(5, 1);
  expect(node("a")?.ejected).toBeUndefined();
  view.onDispatch("a");
  expect(node("a")?.ejected).toMatch(/tried with one job/);
  view.onFailed("a");
  expect(events.of("node_ejected").at(-1)).toMatchObject({ for_ms: 10_000 });
  keep(10, 10);
  view.onDispatch("a");
  const timing = { queued_ms: 0, ttft_ms: 1, total_ms: 2 };
  view.observe({ nodeId: "a", decision: { score: null }, request: { batch: false } } as never, timing, "finished");
  expect(node("a")?.ejected).toBeUndefined();
  for (let i = 0; i < 4; i++) view.onFailed("a");
  expect(node("a")?.ejected).toBeUndefined();
});

test("nobody is spared where it is the only one, while many are silent, or while the router itself was late", () => {
  const alone = watched();
  alone.beat("a");
  for (let i = 0; i < 9; i++) alone.view.onFailed("a");
  expect(alone.node("a")?.ejected).toBeUndefined();
  const late = watched();
  late.beat("a");
  late.beat("b");
  late.pass(100);
  late.jump(5000);
  for (let i = 0; i < 9; i++) late.view.onFailed("a");
  expect(late.node("a")?.ejected).toBeUndefined();
});
