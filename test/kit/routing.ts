import fc from "fast-check";
import type { z } from "zod";
import {
  DATA_CLASSES,
  type Deployment,
  LAYERS,
  NODE_STATUSES,
  NodeRecord,
  RoutingConfig,
  type Layer,
  type NodeRecordInput,
  type ServedModel,
} from "../../bus-schemas/index.ts";
import { contextFor } from "../../router/policy/context.ts";
import { Fleet } from "../../router/policy/fleet.ts";
import { compilePolicy } from "../../router/policy/policy.ts";
import type { DecisionContext, Option, Policy, RouteRequest } from "../../router/policy/types.ts";

/** Of every node of the tests of decisions, which never seal anything. */
const SEAL_KEY = { kid: "k1", public_key: "k".repeat(43), not_after_unix_ms: 9_000_000_000_000 };

/** The time in tests of decisions. */
export const NOW_MS = 1_800_000_000_000;
const NOBODY: ReadonlySet<string> = new Set();

/** Mulberry32 (Ettinger 2017): uniform numbers in [0,1), the same for the same seed. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** A P2 chat job that any node may run. */
export function routeRequest(overrides: Partial<RouteRequest> = {}): RouteRequest {
  return {
    jobId: "job-00000001",
    taskType: "chat",
    dataClass: "P2",
    model: undefined,
    capabilities: [],
    promptTokens: 100,
    expectedOutputTokens: 100,
    contextTokens: 500,
    vramGb: undefined,
    encrypted: true,
    anonymised: false,
    continues: false,
    sessionId: undefined,
    deadlineMs: NOW_MS + 600_000,
    sloMs: 1500,
    batch: false,
    exclude: NOBODY,
    ...overrides,
  };
}

/** A model as a runtime serves it; nothing known but its name. */
export function servedModel(overrides: Partial<ServedModel> = {}): ServedModel {
  return {
    name: "qwen2-7b",
    runtime: "ollama",
    loaded: true,
    context_length: null,
    capabilities: [],
    size_gb: null,
    prefill_tokens_per_second: null,
    ms_per_token: null,
    load_gb_per_second: null,
    vram_gb: null,
    digest: null,
    ...overrides,
  };
}

/** A healthy, idle L1 node that serves qwen2-7b. */
export function nodeRecord(overrides: Partial<NodeRecordInput> = {}): NodeRecord {
  return NodeRecord.parse({
    node_id: "n1",
    layer: "L1",
    status: "healthy",
    boot_id: "boot-1",
    seal_keys: [SEAL_KEY],
    hardware: {},
    served_models: [servedModel()],
    load: { slots: 4, queue_limit: 4 },
    last_heartbeat: "2027-01-15T08:00:00Z",
    ...overrides,
  });
}

/** What the loopback echo makes of a node record. */
export const ECHO: Partial<NodeRecordInput> = {
  served_models: [servedModel({ name: "echo", runtime: "loopback" })],
  runtimes: [{ name: "loopback", kind: "loopback", diagnostic: true }],
};

/** Nodes just heard. */
export function fleetOf(...records: readonly NodeRecord[]): Fleet {
  const fleet = new Fleet();
  for (const record of records) fleet.upsert(record, NOW_MS);
  return fleet;
}

/** SEED's policy, with changes. */
export function policyOf(
  routing: Partial<RoutingConfig["routing_policy"]> = {},
  models: RoutingConfig["models"] = {},
  deployment: z.input<typeof Deployment> = {},
): Policy {
  const seed = RoutingConfig.parse({ deployment });
  return compilePolicy({ ...seed, routing_policy: { ...seed.routing_policy, ...routing }, models }, "test");
}

/** The first option of a fleet and what a filter or scorer is handed with it. */
export function lookedAt(
  fleet: Fleet,
  request: RouteRequest = routeRequest(),
  policy: Policy = policyOf(),
  nowMs = NOW_MS,
): [Option, RouteRequest, DecisionContext] {
  const [option] = fleet.options();
  if (option === undefined) throw new Error("the fleet is empty");
  return [option, request, contextFor(request, fleet, policy, nowMs)];
}

const dataClass = fc.constantFrom(...DATA_CLASSES);
const layer = fc.constantFrom(...LAYERS);
const layers = fc.uniqueArray(layer, { minLength: 1 });
const modelName = fc.constantFrom("qwen2-7b", "llama3.1-70b", "claude-3-sonnet", "echo");
/** Mostly the sound value, so that most jobs get somewhere; else whatever a schema lets through. */
const mostly = <T>(sound: fc.Arbitrary<T>, sick: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 6, arbitrary: sound }, { weight: 1, arbitrary: sick });
const count = mostly(fc.nat(4), fc.nat(1_000_000));
const ms = fc.double({ min: 0, max: 2_592_000_000, noNaN: true });

/** Whatever a schema lets through: sick numbers, full nodes, echoes that do not say so. */
export const anyRecord: fc.Arbitrary<NodeRecord> = fc
  .record({
    node_id: fc.constantFrom(...Array.from({ length: 30 }, (_, i) => `n${i}`)),
    layer,
    boot_id: fc.constant("boot-1"),
    seal_keys: mostly(fc.constant<(typeof SEAL_KEY)[]>([SEAL_KEY]), fc.constant<(typeof SEAL_KEY)[]>([])),
    status: mostly(fc.constant("healthy"), fc.constantFrom(...NODE_STATUSES)),
    hardware: fc.constant({}),
    models: fc.array(modelName, { maxLength: 2 }),
    served_models: fc.array(
      fc.record({
        name: modelName,
        runtime: fc.constantFrom("ollama", "loopback"),
        loaded: fc.option(fc.boolean()),
        context_length: mostly(fc.constant(null), fc.nat(100_000_000)),
        capabilities: mostly(
          fc.constant<string[]>(["text", "chat"]),
          fc.subarray(["text", "chat", "vision", "embedding"]),
        ),
        size_gb: fc.option(fc.double({ min: 0, max: 1_048_576, noNaN: true })),
        prefill_tokens_per_second: fc.option(fc.double({ min: 0, max: 10_000_000, noNaN: true })),
        ms_per_token: mostly(fc.constant(null), ms),
      }),
      { maxLength: 3 },
    ),
    runtimes: fc.subarray([
      { name: "ollama", kind: "ollama" },
      { name: "loopback", kind: "loopback", diagnostic: true },
    ]),
    load: fc.option(
      fc.record({
        slots: mostly(fc.integer({ min: 1, max: 8 }), fc.nat(1_000_000)),
        running: count,
        queued: count,
        queue_limit: mostly(fc.nat(16), fc.nat(1_000_000)),
        pending_prefill_tokens: count,
      }),
    ),
    performance: fc.record({
      avg_latency_ms: mostly(fc.constant(null), ms),
      tokens_per_second: fc.option(fc.double({ min: 0, max: 10_000_000, noNaN: true })),
    }),
    interval_ms: mostly(fc.constant(1000), ms),
    cost_factor: fc.double({ min: 0, max: 1000, noNaN: true }),
    last_heartbeat: fc.constant("2027-01-15T08:00:00Z"),
  })
  .map((record) => NodeRecord.parse(record));

const classPolicy = fc.record({
  allowed_layers: mostly(fc.constant<Layer[]>([...LAYERS]), layers),
  forbidden_layers: mostly(fc.constant<Layer[]>([]), fc.subarray([...LAYERS])),
  require_encryption: fc.boolean(),
  cloud_if_anonymized: fc.boolean(),
  audit_level: fc.constant("basic" as const),
});
const weights = fc
  .tuple(fc.nat(100), fc.nat(100), fc.nat(100), fc.nat(100))
  .filter((parts) => parts.some((part) => part > 0))
  .map(([security, capability, latency, cost]) => {
    const sum = security + capability + latency + cost;
    return { security: security / sum, capability: capability / sum, latency: latency / sum, cost: cost / sum };
  });

const hoursStrategy = fc.constantFrom("local_only" as const, "local_preferred" as const, "cloud_spillover" as const);

/** Any policy that loads, sense or not: P0 allowed in the cloud, layers both allowed and forbidden. */
export const anyPolicy: fc.Arbitrary<Policy> = fc
  .record({
    security: fc.record({ P0: classPolicy, P1: classPolicy, P2: classPolicy }),
    scoring_weights: weights,
    fallback_order: mostly(fc.shuffledSubarray([...LAYERS], { minLength: 3 }), layers),
    cloud_forbidden: mostly(fc.constant(false), fc.constant(true)),
    hours: fc.record({ work_hours: hoursStrategy, off_hours: hoursStrategy }),
  })
  .map(({ security, scoring_weights, fallback_order, cloud_forbidden, hours }) =>
    policyOf(
      { security, scoring_weights, defaults: { max_latency_ms: 1500, retry_attempts: 2, fallback_order } },
      {},
      { security_policy: { cloud_forbidden }, routing_strategy: hours },
    ),
  );

export const anyRequest: fc.Arbitrary<RouteRequest> = fc
  .record({
    jobId: fc.stringMatching(/^[a-z0-9]{8,12}$/),
    taskType: fc.constantFrom("chat", "rag", "media", "wechat"),
    dataClass,
    model: mostly(fc.option(modelName, { nil: undefined }), fc.constant("nobody-has-it")),
    capabilities: mostly(fc.constant<string[]>([]), fc.subarray(["text", "vision"])),
    promptTokens: mostly(fc.nat(4000), fc.nat(100_000_000)),
    expectedOutputTokens: fc.nat(1_000_000),
    contextTokens: mostly(fc.nat(8000), fc.nat(100_000_000)),
    vramGb: mostly(fc.constant(undefined), fc.nat(100)),
    encrypted: mostly(fc.constant(true), fc.constant(false)),
    anonymised: fc.boolean(),
    continues: mostly(fc.constant(false), fc.constant(true)),
    sessionId: fc.option(fc.string(), { nil: undefined }),
    deadlineMs: mostly(fc.constant(NOW_MS + 1e15), fc.integer({ min: NOW_MS - 10, max: NOW_MS + 100_000 })),
    sloMs: ms,
    batch: fc.boolean(),
    exclude: fc.subarray(["n1", "n2", "n3"]),
  })
  .map((request) => ({ ...request, exclude: new Set(request.exclude) }));
