import { expect, test } from "vitest";
import { batchSize } from "../commands/upgrade.ts";
import { gotWorse, jobsGotWorse, type NodeLook } from "./health-gate.ts";
import { makePlan, type NodeFacts } from "./plan.ts";
import { planLines } from "./report.ts";

const node = (id: string, more: Partial<NodeFacts> = {}): NodeFacts => ({
  id,
  layer: "L1",
  version: "1.0.0",
  serves: true,
  models: ["llama"],
  running: 0,
  meant: true,
  refusal: undefined,
  ...more,
});
const many = (count: number, more: Partial<NodeFacts> = {}) =>
  Array.from({ length: count }, (_, i) => node(`n${String(i).padStart(2, "0")}`, more));
const plan = (nodes: readonly NodeFacts[], batch: Parameters<typeof makePlan>[1]["batch"], canary?: string) =>
  makePlan(nodes, { batch, canary, version: "2.0.0" });

test("one goes first, the others in batches of a share of all that are upgraded, and at least one", () => {
  expect(plan(many(21), { share: 0.1 }).batches.map((batch) => batch.length)).toEqual([1, ...Array(10).fill(2)]);
  expect(plan(many(3), { share: 0.1 }).batches).toEqual([["n00"], ["n01"], ["n02"]]);
  expect(plan([node("a", { version: "2.0.0" })], { nodes: 5 })).toEqual({
    version: "2.0.0",
    batches: [],
    already: ["a"],
    cannot: [],
  });
});

test("who is there already, who cannot and who is not meant are in no batch", () => {
  const refusal = { problem: "not_installed" as const, message: "no service" };
  const made = plan([node("a"), node("b", { version: "2.0.0" }), node("c", { refusal }), node("d", { meant: false })], {
    nodes: 9,
  });
  expect(made).toEqual({ version: "2.0.0", batches: [["a"]], already: ["b"], cannot: [{ id: "c", ...refusal }] });
  expect(planLines(made).join("\n")).toContain("c: not_installed: no service");
});

test("of a model and of a layer one node stays out of each batch, where there is another", () => {
  const nodes = [
    node("a", { models: [] }),
    node("b", { models: ["qwen"] }),
    node("c", { models: ["qwen"] }),
    node("d", { models: [] }),
  ];
  expect(plan(nodes, { nodes: 4 }, "a").batches).toEqual([["a"], ["b", "d"], ["c"]]);
  // The only one of a model cannot be helped.
  expect(plan([node("a"), node("b", { models: ["alone"] })], { nodes: 4 }, "a").batches).toEqual([["a"], ["b"]]);
  const layers = [node("a", { layer: "L0" }), node("b", { models: [] }), node("c", { models: [] })];
  expect(plan(layers, { nodes: 4 }, "a").batches).toEqual([["a"], ["b"], ["c"]]);
});

test("the canary is one that others can stand in for, has little to do, or was named", () => {
  const nodes = [node("a", { models: ["alone"] }), node("b", { running: 3 }), node("c"), node("d", { serves: false })];
  expect(plan(nodes, { nodes: 1 }).batches[0]).toEqual(["c"]);
  expect(plan(nodes, { nodes: 1 }, "b").batches[0]).toEqual(["b"]);
  expect(() => plan(nodes, { nodes: 1 }, "z")).toThrow(expect.objectContaining({ code: "not_found", field: "canary" }));
  // One that was the canary of an earlier run.
  expect(plan([node("a", { version: "2.0.0" }), node("b")], { nodes: 1 }, "a").batches).toEqual([["b"]]);
});

test("sizes of batches are numbers from 1 on, or shares", () => {
  expect([batchSize("3"), batchSize("10%"), batchSize("2.5%")]).toEqual([
    { nodes: 3 },
    { share: 0.1 },
    { share: 0.025 },
  ]);
  for (const bad of ["0", "0%", "101%", "1.5", "-1", "ten", ""])
    expect(() => batchSize(bad)).toThrow("a number of nodes");
});

test("a few failures say nothing, and many say something only above what was usual", () => {
  const before = { ended: 1000, failed: 100 };
  expect(jobsGotWorse(before, { ended: 2, failed: 2 })).toBeUndefined();
  expect(jobsGotWorse(before, { ended: 100, failed: 18 })).toBeUndefined();
  expect(jobsGotWorse(before, { ended: 10, failed: 3 })).toBe(
    "3 of 10 jobs failed since then, 30 % against 10 % before",
  );
  expect(jobsGotWorse({ ended: 0, failed: 0 }, { ended: 4, failed: 3 })).toContain("against 0 %");
});

test("a node has to be as well as it was, and no better", () => {
  const before: NodeLook = { state: "ready", status: "healthy", runtimes: ["ollama", "vllm"], sickGpus: 0, gpus: 2 };
  const now = (more: Partial<NodeLook>) => gotWorse(before, { ...before, ...more });
  expect([
    now({}),
    now({ runtimes: ["vllm", "new", "ollama"] }),
    gotWorse({ ...before, status: "degraded" }, { ...before, status: "degraded" }),
  ]).toEqual([undefined, undefined, undefined]);
  expect(now({ runtimes: [] })).toBe("ollama, vllm are not well");
  expect(now({ sickGpus: 1 })).toBe("a GPU is sick");
  expect(now({ gpus: 1 })).toBe("1 of 2 GPUs are gone");
  expect(now({ status: "degraded" })).toBe("it is degraded");
  expect([now({ state: "lost" }), gotWorse(before, undefined)]).toEqual(["it is lost", "it is lost"]);
});
