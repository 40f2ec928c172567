import { expect, test } from "vitest";
import { FakeEvents, nodeRecord } from "../test/kit/router-parts.ts";
import { watched } from "../test/kit/watched-fleet.ts";
import { FleetView } from "./fleet-view.ts";

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
