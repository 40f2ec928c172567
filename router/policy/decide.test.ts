import { expect, test } from "vitest";
import { LAYERS, NodeRecord, RoutingConfig, type Decision } from "../../bus-schemas/index.ts";
import {
  ECHO,
  fleetOf,
  NOW_MS,
  nodeRecord,
  policyOf,
  routeRequest,
  seeded,
  servedModel,
} from "../../test/kit/routing.ts";
import { decide } from "./decide.ts";
import type { Policy, RouteRequest } from "./types.ts";

const FULL = { slots: 1, running: 1, queue_limit: 0 };

function decided(
  records: readonly NodeRecord[],
  request: Partial<RouteRequest> = {},
  policy: Policy = policyOf(),
): Decision {
  return decide(routeRequest(request), fleetOf(...records), policy, NOW_MS, seeded(7));
}

test("SEED's node registration takes SEED's curl request", () => {
  const seed = NodeRecord.parse({
    node_id: "workstation-001",
    layer: "L1",
    status: "healthy",
    hardware: {
      gpus: [{ name: "RTX 4090", vram_total_gb: 24, vram_free_gb: 18, utilization: 0.25 }],
      cpu_cores: 16,
      memory_gb: 64,
      temperature_celsius: 65,
    },
    models: ["llama3.1-8b", "qwen2-7b", "clip-vision"],
    performance: { avg_latency_ms: 850, tokens_per_second: 45, uptime_hours: 168 },
    cost_factor: 0.4,
    last_heartbeat: "2024-01-15T10:30:00Z",
  });
  const decision = decided([seed]);
  expect(decision).toMatchObject({ outcome: "routed", node_id: "workstation-001", layer: "L1", model: "llama3.1-8b" });
  expect(decision.reason).toMatch(
    /^L1 workstation-001 runs llama3\.1-8b: score 0\.\d\d, the layer's only one that can take it; first token expected in \d+ ms$/,
  );
  expect(decided([seed], { model: "qwen2-7b" }).model).toBe("qwen2-7b");
});

test("the target says where the model runs, under whose law, and which model it is, as the node said it", () => {
  const digest = `sha256:${"a8".repeat(32)}`;
  const local = nodeRecord({ jurisdiction: "DE", served_models: [servedModel({ digest })] });
  expect(decided([local]).target).toEqual({ place: "local", jurisdiction: "DE", model_digest: digest });
  expect(decided([nodeRecord()]).target).toEqual({ place: "local", jurisdiction: null, model_digest: null });
  // Where an egress node stands says nothing of the provider that it asks.
  const egress = (jurisdiction: string | null) =>
    nodeRecord({
      layer: "L2",
      jurisdiction: "DE",
      served_models: [servedModel({ runtime: "qwen" })],
      runtimes: [{ name: "qwen", kind: "openai", jurisdiction }],
    });
  expect(decided([egress("CN")]).target).toEqual({ place: "cloud", jurisdiction: "CN", model_digest: null });
  expect(decided([egress(null)]).target).toEqual({ place: "cloud", jurisdiction: null, model_digest: null });
  expect(decided([]).target).toBeNull();
});

test("of nine that can take it eight are drawn, and the reason says so", () => {
  const nodes = ["a", "b", "c", "d", "f", "g", "h", "i", "j"].map((node_id) => nodeRecord({ node_id }));
  const busy = nodeRecord({ node_id: "e", status: "cordoned" });
  const decision = decided([...nodes, busy]);
  expect(decision.reason).toContain("best of 8 drawn from 9;");
  expect(decision.candidates).toHaveLength(10);
  expect(decision.rejected_by).toEqual({ state: 1 });
  expect(decision.candidates.find(({ node_id }) => node_id === "e")?.rejected).toEqual({
    filter: "state",
    reason: "is cordoned",
  });
  expect(decision.alternatives).toHaveLength(3);
});

test("the alternatives go on through the remaining layers", () => {
  const nodes = LAYERS.map((layer) => nodeRecord({ node_id: `on-${layer}`, layer }));
  const { node_id, alternatives } = decided(nodes);
  expect([node_id, ...alternatives.map((next) => next.node_id)]).toEqual(["on-L0", "on-L1", "on-L2"]);
  expect(decided(nodes, { dataClass: "P0" }).alternatives.map((next) => next.layer)).toEqual(["L1"]);
});

test("the alternatives are the other nodes, best first, and scores are shown with four decimals", () => {
  const nodes = [1, 0.2, 0.6, 0.4].map((cost_factor, i) => nodeRecord({ node_id: `n${i}`, cost_factor }));
  const { node_id, alternatives, candidates } = decided(nodes);
  const total = new Map(candidates.map((each) => [each.node_id, each.score?.total ?? 0]));
  const others = nodes.map((node) => node.node_id).filter((id) => id !== node_id);
  const best = others.toSorted((a, b) => (total.get(b) ?? 0) - (total.get(a) ?? 0));
  expect(alternatives.map((next) => next.node_id)).toEqual(best);
  expect(new Set(total.values()).size).toBe(4);
  expect([...total.values()].filter((score) => !/^0\.\d{1,4}$/.test(String(score)))).toEqual([]);
});

test("of a large fleet only what was drawn is explained, unless all is asked for", () => {
  const nodes = Array.from({ length: 200 }, (_, i) =>
    nodeRecord({ node_id: `n${i}`, status: i % 2 === 0 ? "healthy" : "degraded" }),
  );
  const fleet = fleetOf(...nodes);
  const brief = decide(routeRequest(), fleet, policyOf(), NOW_MS, seeded(1));
  expect(brief.candidates).toHaveLength(8);
  expect(brief.candidates_total).toBe(200);
  expect(brief.reason).toContain("best of 8 drawn from the layer's 200;");
  const drawn = new Set(brief.candidates.map(({ node_id }) => node_id));
  expect(brief.alternatives.map(({ node_id }) => drawn.has(node_id) && node_id !== brief.node_id)).toEqual([
    true,
    true,
    true,
  ]);
  const all = decide(routeRequest(), fleet, policyOf(), NOW_MS, seeded(1), "all");
  expect(all.node_id).toBe(brief.node_id);
  expect(all.candidates).toHaveLength(64);
  expect(all.candidates.slice(0, 8)).toEqual(brief.candidates);
  expect(all.rejected_by).toEqual({ health: 100 });
  expect(all.alternatives).toHaveLength(3);
  const alone = Array.from({ length: 200 }, (_, i) =>
    nodeRecord({ node_id: `n${i}`, status: i < 2 ? "healthy" : "degraded", layer: i === 1 ? "L1" : "L0" }),
  );
  // The only one of its layer: the next pick is in another.
  expect(decided(alone)).toMatchObject({ node_id: "n0", alternatives: [{ node_id: "n1", layer: "L1" }] });
});

test("a batch is promised its end, a chat its first token", () => {
  expect(decided([nodeRecord()], { batch: true }).reason).toMatch(/; done expected in \d+ ms$/);
});

test("the echo answers only where no real model fits, and the reason says so", () => {
  const echo = nodeRecord({ ...ECHO, node_id: "echo", layer: "L0" });
  const real = nodeRecord({ node_id: "real", layer: "L1" });
  const decision = decided([echo, real]);
  expect(decision.node_id).toBe("real");
  expect(decision.rejected_by).toEqual({ diagnostic: 1 });
  expect(decision.alternatives).toEqual([]);
  const alone = decided([echo, { ...real, status: "degraded" }]);
  expect(alone.node_id).toBe("echo");
  expect(alone.reason).toContain("diagnostic echo: no real model fits");
});

test("the echo is no answer while a real model is only busy or was just tried", () => {
  const echo = nodeRecord({ ...ECHO, node_id: "echo" });
  const full = nodeRecord({ node_id: "real", load: FULL });
  expect(decided([echo, full]).error?.code).toBe("all_busy");
  const tried = decided([echo, nodeRecord({ node_id: "real" })], { exclude: new Set(["real"]) });
  expect(tried.error?.code).toBe("no_node");
});

test("nobody there: no_node, try again", () => {
  const { outcome, error, node_id } = decided([]);
  expect([outcome, error?.code, node_id]).toEqual(["refused", "no_node", null]);
  expect(error?.retry_after_ms).toBeGreaterThan(0);
});

test("a model that nobody serves: model_not_found, naming the field", () => {
  expect(decided([nodeRecord()], { model: "gpt-9" }).error).toMatchObject({
    code: "model_not_found",
    field: "model",
    retryable: false,
  });
});

test("every node full by its own word: all_busy, and when a place will be free", () => {
  const node = (node_id: string, avg_latency_ms: number) =>
    nodeRecord({ node_id, load: { ...FULL, slots: 2, running: 2 }, performance: { avg_latency_ms } });
  const { error, rejected_by } = decided([node("a", 8000), node("b", 4000)]);
  expect(error).toMatchObject({ code: "all_busy", retryable: true, retry_after_ms: 2000 });
  expect(rejected_by).toEqual({ capacity: 2 });
  const unfit = nodeRecord({ node_id: "c", status: "degraded" });
  expect(decided([node("a", 8000), unfit]).error?.code).toBe("all_busy");
});

test("a node whose places were all sent a job is full until its next word, however many jobs run there by ours", () => {
  const fleet = fleetOf(nodeRecord({ load: { slots: 1, queue_limit: 1 } }));
  const view = fleet.view("n1") ?? {};
  const outcome = () => decide(routeRequest(), fleet, policyOf(), NOW_MS, seeded(1)).outcome;
  Object.assign(view, { dispatchedSinceHeartbeat: 1, ownInFlight: 9 });
  expect(outcome()).toBe("routed");
  Object.assign(view, { dispatchedSinceHeartbeat: 2 });
  expect(outcome()).toBe("refused");
});

test("P0 without a protected way: encryption_required", () => {
  expect(decided([nodeRecord()], { dataClass: "P0", encrypted: false }).error?.code).toBe("encryption_required");
});

test("P0 with only the cloud there: no_node, and which filter removed how many", () => {
  const clouds = ["a", "b"].map((node_id) => nodeRecord({ node_id, layer: "L2" }));
  const { error, rejected_by } = decided([...clouds, nodeRecord({ status: "draining" })], { dataClass: "P0" });
  expect(error?.code).toBe("no_node");
  expect(error?.message).toBe("no node can take this P0 job; removed by: data_class 2, state 1");
  expect(rejected_by).toEqual({ data_class: 2, state: 1 });
});

test("P1 that only the cloud can run: anonymiser_required, and once anonymised it goes there", () => {
  const cloud = nodeRecord({
    node_id: "cloud",
    layer: "L2",
    served_models: [servedModel({ name: "claude-3-sonnet" })],
  });
  const nodes = [cloud, nodeRecord({ node_id: "local" })];
  const job = { dataClass: "P1", model: "claude-3-sonnet" } as const;
  expect(decided(nodes, job).error?.code).toBe("anonymiser_required");
  expect(decided(nodes, { ...job, anonymised: true }).node_id).toBe("cloud");
});

test("P1 that a node at home could take in a moment: no_node, which may be tried again", () => {
  const cloud = nodeRecord({ node_id: "cloud", layer: "L2" });
  const ill = nodeRecord({ node_id: "local", status: "degraded" });
  const { error } = decided([cloud, ill], { dataClass: "P1" });
  expect(error).toMatchObject({ code: "no_node", retryable: true });
  const tried = { dataClass: "P1", exclude: new Set(["local"]) } as const;
  expect(decided([cloud, nodeRecord({ node_id: "local" })], tried).error?.code).toBe("no_node");
  const cordoned = nodeRecord({ node_id: "local", status: "cordoned" });
  expect(decided([cloud, cordoned], { dataClass: "P1" }).error?.code).toBe("anonymiser_required");
});

test("a node that is spared for its failures is taken where there is no other, and only there", () => {
  const fleet = fleetOf(nodeRecord({ node_id: "spared" }), nodeRecord({ node_id: "well" }));
  const view = fleet.view("spared");
  if (view === undefined) throw new Error("not there");
  view.ejected = "failed 5 jobs in a row";
  const go = (request: Partial<RouteRequest>) => decide(routeRequest(request), fleet, policyOf(), NOW_MS, seeded(7));
  expect(go({})).toMatchObject({ node_id: "well", rejected_by: { outlier: 1 } });
  const alone = go({ exclude: new Set(["well"]) });
  expect(alone).toMatchObject({ outcome: "routed", node_id: "spared", rejected_by: { tried: 1 } });
  expect(alone.reason).toContain("as a last resort");
});

test("anonymising is not asked for where it would not help", () => {
  const { P0, P1, P2 } = policyOf().routing.security;
  const strict = policyOf({ security: { P0, P1: { ...P1, cloud_if_anonymized: false }, P2 } });
  const cloud = nodeRecord({ layer: "L2" });
  expect(decided([cloud], { dataClass: "P1" }, strict).error?.code).toBe("no_node");
  expect(decided([{ ...cloud, status: "degraded" }], { dataClass: "P1" }).error?.code).toBe("no_node");
  expect(decided([cloud], { dataClass: "P1", taskType: "wechat" }).error?.code).toBe("no_node");
});

test("no node in time: deadline_exceeded", () => {
  expect(decided([nodeRecord()], { deadlineMs: NOW_MS + 1 }).error?.code).toBe("deadline_exceeded");
});

test("level one's choice is in the decision", () => {
  const decision = decided([nodeRecord()], { taskType: "wechat", dataClass: "P1" });
  expect(decision.tool).toMatchObject({ tool: "mcp_wechat_local", data_residency: "local_only" });
});

test("a policy that registers a model for other layers is obeyed", () => {
  const { models } = RoutingConfig.parse({ models: { "qwen2-7b": { layers: ["L0"] } } });
  expect(decided([nodeRecord()], {}, policyOf({}, models)).rejected_by).toEqual({ model: 1 });
});

test("a model that has to be loaded first loses to one in memory, and is announced where there is no other", () => {
  const cold = servedModel({ loaded: false, size_gb: 8, load_gb_per_second: 2 });
  const onDisk = nodeRecord({ node_id: "cold", served_models: [cold] });
  const inMemory = nodeRecord({ node_id: "warm", served_models: [servedModel()] });
  expect(decided([onDisk, inMemory])).toMatchObject({ node_id: "warm", cold_start_ms: null });
  const alone = decided([onDisk]);
  expect(alone).toMatchObject({ node_id: "cold", cold_start_ms: 4000 });
  expect(alone.reason).toMatch(/, of which 4000 ms to load the model$/);
  expect(alone.score?.predicted_ms).toBeGreaterThan(4000);
});
