import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Decision, type DataClass, type Layer } from "../../bus-schemas/index.ts";
import {
  anyPolicy,
  anyRecord,
  anyRequest,
  fleetOf,
  NOW_MS,
  nodeRecord,
  policyOf,
  seeded,
} from "../../test/kit/routing.ts";
import { decide } from "./decide.ts";
import { pickNode } from "./pick.ts";
import type { Policy } from "./types.ts";

/** Small fleets are scanned, large ones sampled. */
const records = fc.oneof(fc.array(anyRecord, { maxLength: 6 }), fc.array(anyRecord, { minLength: 20, maxLength: 60 }));
const inputs = { records, policy: anyPolicy, request: anyRequest, seed: fc.integer() };
const detail = fc.constantFrom("drawn" as const, "all" as const);

/** Layers a class may use, written down a second time and differently: from SEED 数据分级标准 and the two promises. */
function permitted(dataClass: DataClass, anonymised: boolean, { routing }: Policy): Set<Layer> {
  const { allowed_layers: allowed, forbidden_layers: forbidden, cloud_if_anonymized } = routing.security[dataClass];
  const layers = new Set<Layer>(allowed);
  if (dataClass === "P0") layers.delete("L2");
  if (dataClass === "P1") {
    layers.delete("L2");
    if (cloud_if_anonymized && anonymised) layers.add("L2");
  }
  for (const layer of forbidden) layers.delete(layer);
  return layers;
}

test("P0 never reaches L2 and no class reaches a layer that is not its own, over hostile fleets and policies", () => {
  fc.assert(
    fc.property(fc.record(inputs), ({ records: nodes, policy, request, seed }) => {
      const decision = decide(request, fleetOf(...nodes), policy, NOW_MS, seeded(seed));
      expect(decision.security_level).toBe(request.dataClass);
      const chosen = [decision.layer ?? [], decision.alternatives.map((next) => next.layer)].flat();
      const scored = decision.candidates.filter((each) => each.score !== null).map((each) => each.layer);
      const mayUse = permitted(request.dataClass, request.anonymised, policy);
      expect([...chosen, ...scored].filter((layer) => !mayUse.has(layer))).toEqual([]);
      expect(request.dataClass === "P0" && chosen.includes("L2")).toBe(false);
    }),
    { numRuns: 500 },
  );
});

test("the properties here are tried on jobs that go somewhere and on jobs that do not", () => {
  const outcomes = fc
    .sample(fc.record(inputs), { numRuns: 400, seed: 1 })
    .map(({ records: nodes, policy, request, seed }) => {
      const pick = pickNode(request, fleetOf(...nodes), policy, NOW_MS, seeded(seed));
      return pick === undefined ? "nowhere" : `${request.dataClass} ${pick.option.layer}`;
    });
  const reached = new Set(outcomes);
  expect([...reached].toSorted()).toEqual([
    "P0 L0",
    "P0 L1",
    "P1 L0",
    "P1 L1",
    "P1 L2",
    "P2 L0",
    "P2 L1",
    "P2 L2",
    "nowhere",
  ]);
  expect(outcomes.filter((outcome) => outcome !== "nowhere").length).toBeGreaterThan(120);
});

test("every decision is well formed, and refused only with an error that says why", () => {
  fc.assert(
    fc.property(fc.record({ ...inputs, detail }), ({ records: nodes, policy, request, seed, detail: much }) => {
      const decision = decide(request, fleetOf(...nodes), policy, NOW_MS, seeded(seed), much);
      expect(Decision.parse(decision)).toEqual(decision);
      expect(decision.outcome === "routed").toBe(decision.error === null);
      expect(decision.outcome === "routed").toBe(decision.node_id !== null);
      expect(decision.candidates.length).toBeLessThanOrEqual(64);
      // A refusal accounts for every option; a choice is among the candidates, scored as shown.
      const removed = Object.values(decision.rejected_by).reduce((sum, count) => sum + count, 0);
      const { node_id, layer, model, score } = decision;
      const chosen = { node_id, layer, model, score, rejected: null };
      const listed = decision.candidates.some((each) => isDeepStrictEqual(each, chosen));
      expect(decision.outcome === "refused" ? removed === decision.candidates_total : listed).toBe(true);
      expect(request.exclude.has(node_id ?? "")).toBe(false);
      const named = [decision.node_id, ...decision.alternatives.map((next) => next.node_id)];
      expect(new Set(named).size).toBe(named.length);
    }),
    { numRuns: 300 },
  );
});

test("the same inputs give the same decision, and the fast form picks the same node", () => {
  fc.assert(
    fc.property(fc.record({ ...inputs, detail }), ({ records: nodes, policy, request, seed, detail: much }) => {
      const [first, second] = [fleetOf(...nodes), fleetOf(...nodes)];
      const decision = decide(request, first, policy, NOW_MS, seeded(seed), much);
      expect(decide(request, second, policy, NOW_MS, seeded(seed), much)).toEqual(decision);
      const pick = pickNode(request, first, policy, NOW_MS, seeded(seed));
      expect(pick?.option.view.record.node_id ?? null).toBe(decision.node_id);
      expect(pick?.option.served.name ?? null).toBe(decision.model);
    }),
    { numRuns: 300 },
  );
});

test("adding a node never makes a decision fail", () => {
  fc.assert(
    fc.property(fc.record({ ...inputs, added: anyRecord }), ({ records: nodes, policy, request, seed, added }) => {
      const fleet = fleetOf(...nodes);
      const before = pickNode(request, fleet, policy, NOW_MS, seeded(seed));
      // An echo may give way to a real model that is only busy; a real model gives way to nothing.
      if (before === undefined || before.option.diagnostic || fleet.view(added.node_id) !== undefined) return;
      fleet.upsert(added, NOW_MS);
      expect(pickNode(request, fleet, policy, NOW_MS, seeded(seed))).toBeDefined();
    }),
    { numRuns: 300 },
  );
});

test("a later layer is used only when no node of an earlier one can take the job", () => {
  fc.assert(
    fc.property(fc.record(inputs), ({ records: nodes, policy, request, seed }) => {
      const fleet = fleetOf(...nodes);
      const { outcome, layer, candidates } = decide(request, fleet, policy, NOW_MS, seeded(seed), "all");
      if (outcome !== "routed" || layer === null) return;
      const order = policy.routing.defaults.fallback_order;
      const earlier = order.slice(0, order.indexOf(layer));
      expect(candidates.filter((each) => earlier.includes(each.layer) && each.score !== null)).toEqual([]);
    }),
    { numRuns: 300 },
  );
});

test("random numbers at their limits still give a node", () => {
  const fleet = fleetOf(...Array.from({ length: 40 }, (_, i) => nodeRecord({ node_id: `n${i}` })));
  fc.assert(
    fc.property(anyRequest, fc.constantFrom(0, 1 - 2 ** -53), (request, extreme) => {
      const job = {
        ...request,
        model: undefined,
        capabilities: [],
        vramGb: undefined,
        encrypted: true,
        continues: false,
      };
      const possible = { ...job, contextTokens: 1, promptTokens: 1, deadlineMs: NOW_MS + 1e15 };
      expect(pickNode(possible, fleet, policyOf(), NOW_MS, () => extreme)).toBeDefined();
    }),
  );
});
