import { expect, test } from "vitest";
import { EVENTS, type DecisionInputs } from "../../bus-schemas/index.ts";
import {
  ECHO,
  fleetOf,
  nodeRecord,
  NOW_MS,
  policyOf,
  routeRequest,
  seeded,
  servedModel,
} from "../../test/kit/routing.ts";
import type { Fleet } from "./fleet.ts";
import { decideRecorded } from "./record-inputs.ts";
import { readInputs, redecide, replayDecision } from "./replay.ts";
import type { Policy, RouteRequest } from "./types.ts";

const decided = (fleet: Fleet, request: Partial<RouteRequest> = {}, policy: Policy = policyOf()) =>
  decideRecorded(routeRequest(request), fleet, policy, NOW_MS, seeded(1), "0.1.0");

test("inputs of another version, none and broken ones are told by a typed error that names the field", () => {
  const { inputs } = decided(fleetOf(nodeRecord()));
  expect(readInputs(inputs)).toEqual(inputs);
  const problem = (recorded: unknown) => {
    try {
      return readInputs(recorded);
    } catch (error) {
      return error;
    }
  };
  expect(problem({ ...inputs, version: 2 })).toMatchObject({ code: "bad_request", field: "inputs.version" });
  expect(problem({ ...inputs, version: "one".repeat(1000) })).toMatchObject({ field: "inputs.version" });
  for (const nothing of [undefined, null, {}, 7]) expect(problem(nothing)).toMatchObject({ field: "inputs" });
  expect(problem({ ...inputs, now_unix_ms: "soon" })).toMatchObject({ code: "bad_request", field: "now_unix_ms" });
  const [node] = inputs.nodes;
  expect(problem({ ...inputs, nodes: [{ ...node, slots: -1 }] })).toMatchObject({ field: "nodes[0].slots" });
});

test("an event with inputs of a later version is kept without them: unknown fields could hold content", () => {
  const { decision, inputs } = decided(fleetOf(nodeRecord()));
  const event = {
    job_id: "job-00000001",
    attempt: 1,
    decision,
    sizes: { request_bytes: 1, prompt_tokens_estimate: 1 },
  };
  const parse = (more: object) => EVENTS.job_decided.data.parse({ ...event, ...more }).inputs;
  expect(parse({ inputs })).toEqual(inputs);
  expect(parse({ inputs: { ...inputs, version: 2, prompt: "secret" } })).toEqual({ version: 2 });
  expect(parse({ inputs: { ...inputs, prompt: "secret" } })).toEqual(inputs);
  expect(parse({})).toBeNull();
});

test("a record holds no session key", () => {
  const { inputs } = decided(fleetOf(nodeRecord()), { sessionId: "ann@example.com" });
  expect(inputs.request.session_hash).toMatch(/^[0-9a-f]{8}$/);
  expect(JSON.stringify(inputs)).not.toContain("ann");
});

test("the draw of a large fleet is taken from the record, and its nodes are few", () => {
  const nodes = Array.from({ length: 500 }, (_, i) => nodeRecord({ node_id: `n${i}`, cost_factor: (i % 7) / 7 }));
  const { decision, inputs } = decided(fleetOf(...nodes));
  const drawn = inputs.nodes.filter((node) => node.drawn).map(({ node_id }) => node_id);
  expect([drawn.length, inputs.nodes.length, inputs.whole]).toEqual([8, 8, false]);
  expect(drawn).toContain(decision.node_id);
  expect(replayDecision(decision, inputs, policyOf())).toMatchObject({ differences: [], whole: false });
  // Had another one been the only one that was drawn, it would have been taken.
  const other = structuredClone(inputs);
  const otherId = drawn.find((id) => id !== decision.node_id);
  for (const node of other.nodes) if (node.node_id !== otherId) delete node.drawn;
  expect(redecide(other, policyOf()).pick?.option.view.record.node_id).toBe(otherId);
});

test("a node with many models is recorded with the chosen one and a few more", () => {
  const served_models = Array.from({ length: 30 }, (_, i) => servedModel({ name: `m-${i + 1}b` }));
  const { decision, inputs } = decided(fleetOf(nodeRecord({ served_models })));
  expect(inputs.nodes).toMatchObject([{ models_left_out: 26 }]);
  expect(inputs.nodes[0]?.models.map(({ model }) => model)).toContain(decision.model);
  expect([inputs.whole, replayDecision(decision, inputs, policyOf()).differences]).toEqual([false, []]);
});

test("a busy real model is remembered when a job is refused rather than sent to the echo", () => {
  const dead = Array.from({ length: 12 }, (_, i) => nodeRecord({ node_id: `dead${i}`, status: "cordoned" }));
  const full = nodeRecord({ node_id: "full", load: { slots: 1, running: 1, queue_limit: 0 } });
  const { decision, inputs } = decided(fleetOf(...dead, full, nodeRecord({ node_id: "echo", ...ECHO })));
  expect(decision.error).toMatchObject({ code: "all_busy" });
  expect(inputs.nodes.map(({ node_id }) => node_id)).toContain("full");
  expect(replayDecision(decision, inputs, policyOf())).toMatchObject({ differences: [], whole: false });
});

test("by another policy the choice is made among the recorded nodes", () => {
  const nodes = [nodeRecord(), nodeRecord({ node_id: "cloud", layer: "L2" })];
  const { decision, inputs } = decided(fleetOf(...nodes));
  expect(decision.node_id).toBe("n1");
  const cloudFirst = policyOf({ defaults: { ...policyOf().routing.defaults, fallback_order: ["L2", "L1"] } });
  expect(redecide(inputs, cloudFirst).pick?.option.view.record.node_id).toBe("cloud");
});

test("a record of a usual job stays small", () => {
  const sizes = [1, 2, 4, 200].map((count) => {
    const nodes = Array.from({ length: count }, (_, i) => usualNode(`workstation-${i}`));
    const request = {
      model: "qwen2.5:7b",
      jobId: "01J8Z3K4M5N6P7Q8R9S0T1V2W3",
      capabilities: ["text"],
      sessionId: "s",
    };
    const { inputs } = decided(fleetOf(...nodes), request);
    return JSON.stringify(inputs satisfies DecisionInputs).length;
  });
  expect(sizes[1]).toBeLessThan(1400);
  expect(Math.max(...sizes)).toBeLessThan(4200);
});

function usualNode(node_id: string) {
  return nodeRecord({
    node_id,
    layer: "L0",
    cost_factor: 0.4,
    hardware: {
      temperature_celsius: 61.5,
      gpus: [{ name: "NVIDIA GeForce RTX 4060", vram_total_gb: 8, temperature_celsius: 55, power_limit_watts: 115 }],
    },
    served_models: [
      servedModel({
        name: "qwen2.5:7b",
        context_length: 32_768,
        capabilities: ["text", "chat", "tools"],
        size_gb: 4.36,
        prefill_tokens_per_second: 812.345_678_9,
        ms_per_token: 22.123_456_78,
      }),
    ],
    runtimes: [{ name: "ollama", kind: "ollama" }],
    load: { slots: 4, running: 1, queue_limit: 16, pending_prefill_tokens: 300 },
    performance: { avg_latency_ms: 2310.52, tokens_per_second: 44.8 },
  });
}

test("that the only machine sleeps is told again from the record, without how it can be woken", () => {
  const mac = "02:00:00:00:00:01";
  const fleet = fleetOf(nodeRecord({ status: "suspended", status_reason: "about to sleep", sleep: { mac } }));
  const view = fleet.view("n1");
  if (view !== undefined) view.gone = true;
  const { decision, inputs } = decided(fleet);
  expect(decision.candidates[0]?.rejected).toEqual({ filter: "state", reason: "is asleep" });
  expect(replayDecision(decision, readInputs(inputs), policyOf())).toMatchObject({ differences: [] });
  expect(JSON.stringify(inputs)).not.toContain(mac);
});
