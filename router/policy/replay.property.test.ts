import fc from "fast-check";
import { expect, test } from "vitest";
import { Decision, DecisionInputs, NodeRecord } from "../../bus-schemas/index.ts";
import { anyPolicy, anyRecord, anyRequest, fleetOf, NOW_MS, seeded } from "../../test/kit/routing.ts";
import type { Fleet } from "./fleet.ts";
import { decideRecorded, type RecordedDecision } from "./record-inputs.ts";
import { readInputs, replayDecision } from "./replay.ts";
import type { Policy, RouteRequest } from "./types.ts";

const number = (max: number) => fc.option(fc.double({ min: 0, max, noNaN: true }));
const gpu = fc.record({
  name: fc.constantFrom("RTX 4090", "H20"),
  vram_total_gb: fc.oneof({ weight: 5, arbitrary: fc.double({ min: 0, max: 200, noNaN: true }) }, fc.constant(null)),
  temperature_celsius: fc.option(fc.double({ min: -60, max: 100, noNaN: true })),
  power_limit_watts: number(1000),
});
/** The shared arbitrary, with the hardware and the words on it that filters read. */
const record = fc
  .record({
    base: anyRecord,
    gpus: fc.array(gpu, { maxLength: 3 }),
    cpu: number(110),
    reason: fc.option(fc.constant("its probe failed")),
    healthy: fc.boolean(),
    loadRate: number(50),
  })
  .map(({ base, gpus, cpu, reason, healthy, loadRate }) =>
    NodeRecord.parse({
      ...base,
      served_models: base.served_models.map((model) => ({ ...model, load_gb_per_second: loadRate })),
      status_reason: reason,
      hardware: { gpus, temperature_celsius: cpu },
      runtimes: base.runtimes.map((runtime, i) => (i === 0 ? { ...runtime, healthy } : runtime)),
    }),
  );
const learned = fc.record({
  ageMs: fc.oneof({ weight: 8, arbitrary: fc.nat(3000) }, fc.double({ min: 0, max: 1e6, noNaN: true })),
  rttMs: fc.double({ min: 0, max: 100, noNaN: true }),
  dispatched: fc.nat(5),
  correction: fc.double({ min: 0.5, max: 4, noNaN: true }),
  gone: fc.oneof({ weight: 9, arbitrary: fc.constant(false) }, fc.constant(true)),
});
const score = fc.double({ min: 0, max: 1, noNaN: true });
const situation = fc.record({
  records: fc.oneof(
    fc.array(record, { maxLength: 4 }),
    fc.array(record, { maxLength: 12 }),
    fc.array(record, { minLength: 20, maxLength: 40 }),
  ),
  learned: fc.array(learned, { minLength: 1, maxLength: 40 }),
  policy: anyPolicy,
  request: anyRequest,
  seed: fc.integer(),
  routers: fc.integer({ min: 1, max: 10 }),
  qualities: fc.dictionary(fc.constantFrom("qwen2-7b", "llama3.1-70b"), score),
  pricy: fc.boolean(),
});
type Situation = typeof situation extends fc.Arbitrary<infer T> ? T : never;

function fleetIn({ records, learned: all, routers, qualities, request, seed }: Situation): Fleet {
  const fleet = fleetOf(...records);
  // Some were hotter a heartbeat ago, which is held.
  for (const view of fleet.views) {
    const { cpu, gpus } = view.heldCelsius;
    const warmer = (celsius: number | null) => (celsius === null ? null : celsius + (Math.abs(seed) % 5));
    view.heldCelsius = { cpu: warmer(cpu), gpus: gpus.map(warmer) };
  }
  fleet.liveRouters = routers;
  fleet.qualities = new Map([[request.taskType, new Map(Object.entries(qualities))]]);
  [...fleet.views].forEach((view, i) => {
    const { ageMs, rttMs, dispatched, correction, gone } = all[i % all.length] ?? (all[0] as (typeof all)[number]);
    Object.assign(view, {
      receivedAtMs: NOW_MS - ageMs,
      rttMs,
      dispatchedSinceHeartbeat: dispatched,
      correction,
      gone,
    });
  });
  return fleet;
}

function policyIn({ policy, pricy }: Situation): Policy {
  if (!pricy) return policy;
  const spec = { layers: ["L0" as const, "L1" as const], requirements: { vram_gb: 20, context_length: 4000 } };
  const models = new Map([["qwen2-7b", { ...spec, capabilities: ["vision"], cost_per_1k_tokens: 0.7 }]]);
  return { ...policy, models, electricityUsdPerKwh: 3 };
}

const decided = (at: Situation) =>
  decideRecorded(at.request as RouteRequest, fleetIn(at), policyIn(at), NOW_MS, seeded(at.seed), "0.0.0");

/** More find more and take longer. */
const RUNS = Number(process.env["TIERMESH_PROPERTY_RUNS"] ?? 300);

/** As it comes back from the log. */
const stored = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;

test("a recorded decision, made again from its record alone, is the same bit for bit", () => {
  const seen = { whole: 0, sampled: 0, routed: 0, refused: 0, candidates: 0 };
  fc.assert(
    fc.property(situation, (at) => {
      const { decision, inputs } = stored(decided(at));
      expect(DecisionInputs.parse(inputs)).toEqual(inputs);
      expect(Decision.parse(decision)).toEqual(decision);
      const replay = replayDecision(decision, readInputs(inputs), policyIn(at));
      expect(replay.differences).toEqual([]);
      seen[replay.whole ? "whole" : "sampled"]++;
      seen[decision.outcome]++;
      seen.candidates += replay.candidates;
    }),
    { numRuns: RUNS },
  );
  // It was tried on each kind.
  expect(Math.min(seen.whole, seen.sampled, seen.routed, seen.refused)).toBeGreaterThan(RUNS / 20);
  expect(seen.candidates).toBeGreaterThan(RUNS);
});

test("the score, the node or the reason of a candidate that was changed in the record is told", () => {
  fc.assert(
    fc.property(situation, fc.nat(), (at, which) => {
      const { decision, inputs } = stored(decided(at));
      const places = tamperings(decision, inputs);
      const place = places[which % places.length];
      if (place === undefined) return;
      place();
      expect(replayDecision(decision, inputs, policyIn(at)).differences).not.toEqual([]);
    }),
    { numRuns: 200 },
  );
});

/** Changes to a record that the decision must not survive. */
function tamperings(decision: Decision, inputs: RecordedDecision["inputs"]): (() => void)[] {
  const known = new Set(
    inputs.nodes.flatMap(({ node_id, models }) => models.map(({ model }) => `${node_id} ${model}`)),
  );
  const changes: (() => void)[] = [
    () => (decision.outcome = decision.outcome === "routed" ? "refused" : "routed"),
    () => (decision.node_id = decision.node_id === "other" ? null : "other"),
    () => (decision.security_level = decision.security_level === "P0" ? "P1" : "P0"),
    () => (inputs.request.security_level = inputs.request.security_level === "P0" ? "P1" : "P0"),
  ];
  const { score: chosen } = decision;
  if (chosen !== null) {
    for (const term of ["total", "security", "capability", "latency", "cost", "predicted_ms"] as const)
      changes.push(() => (chosen[term] = nextAfter(chosen[term])));
    changes.push(() => (inputs.request.deadline_unix_ms = NOW_MS - 1));
    changes.push(() => (inputs.nodes = inputs.nodes.filter(({ node_id }) => node_id !== decision.node_id)));
  }
  for (const { node_id, model, rejected } of decision.candidates) {
    if (rejected !== null && known.has(`${node_id} ${model}`)) changes.push(() => (rejected.reason += "."));
  }
  return changes;
}

/** The next larger double: one bit. */
function nextAfter(value: number): number {
  const bits = new BigUint64Array(1);
  const floats = new Float64Array(bits.buffer);
  floats[0] = value;
  bits[0] = (bits[0] ?? 0n) + 1n;
  return floats[0];
}
