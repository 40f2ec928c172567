import {
  DECISION_INPUTS_VERSION,
  LAYERS,
  type Decision,
  type DecisionInputs,
  type Layer,
  type ModelInputs,
  type NodeInputs,
  type RequestInputs,
} from "../../bus-schemas/index.ts";
import { decide } from "./decide.ts";
import { sealKeyOf } from "./filters/encryption.ts";
import { hotGpu, MAX_CPU_CELSIUS } from "./filters/temperature.ts";
import type { Fleet } from "./fleet.ts";
import { hash32 } from "./hash.ts";
import { CHOICES, type PickInContext } from "./pick.ts";
import type { Place } from "./pool.ts";
import { qualityOf } from "./quality.ts";
import { rejection } from "./reject.ts";
import type { DecisionContext, NodeView, Option, Policy, RouteRequest } from "./types.ts";

/** Nodes in a record, at most: all that are scored. And models of each. */
const MAX_NODES = CHOICES;
const MAX_MODELS = 4;
/** Candidates that a record explains, at most; the rest is in the counts. */
const MAX_CANDIDATES = 8;

/** A decision and what it was made from. */
export interface RecordedDecision {
  decision: Decision;
  inputs: DecisionInputs;
}

/**
 * Decides as `decide` does, and notes what was read for it, so that it can be made again from its record alone (replay.ts).
 * @param software the build that decides, for whoever replays it with another one
 */
export function decideRecorded(
  request: RouteRequest,
  fleet: Fleet,
  policy: Policy,
  nowMs: number,
  random: () => number,
  software: string,
): RecordedDecision {
  let made: PickInContext | undefined;
  const decision = decide(request, fleet, policy, nowMs, random, "drawn", (pick) => (made = pick));
  if (made === undefined) throw new Error("decide says what it picked");
  const { nodes, whole } =
    made.pick === undefined
      ? refusedNodes(request, fleet, made.context)
      : routedNodes(request, fleet, made, decision.alternatives);
  const inputs = {
    version: DECISION_INPUTS_VERSION,
    software,
    now_unix_ms: nowMs,
    policy_sha256: policy.textSha256,
    live_routers: fleet.liveRouters,
    request: requestInputs(request),
    nodes,
    whole,
  } as const;
  return { decision: { ...decision, candidates: shortened(decision.candidates, nodes) }, inputs };
}

/** Those whose inputs are recorded, and a few more for people. */
function shortened(candidates: Decision["candidates"], nodes: readonly NodeInputs[]): Decision["candidates"] {
  if (candidates.length <= MAX_CANDIDATES) return candidates;
  const recorded = new Set(nodes.flatMap(({ node_id, models }) => models.map(({ model }) => `${node_id} ${model}`)));
  const known = candidates.filter(({ node_id, model }) => recorded.has(`${node_id} ${model}`));
  const others = candidates.filter((candidate) => !known.includes(candidate));
  return [...known, ...others.slice(0, Math.max(0, MAX_CANDIDATES - known.length))];
}

/** The nodes that were scored, those that would come next, and as many of the others as there is room for. */
function routedNodes(
  request: RouteRequest,
  fleet: Fleet,
  { pick, context }: PickInContext,
  next: Decision["alternatives"],
): Pick<DecisionInputs, "nodes" | "whole"> {
  const named = new Map<Place, { model: string; drawn: boolean }>();
  const name = (layer: Layer, nodeId: string, model: string, drawn: boolean) => {
    const place = fleet.pool(layer, request.model)?.place(nodeId);
    if (place !== undefined && named.size < MAX_NODES && !named.has(place)) named.set(place, { model, drawn });
  };
  for (const { layer, view, served } of pick?.drawn ?? []) name(layer, view.record.node_id, served.name, true);
  for (const { layer, node_id, model } of next) name(layer, node_id, model, false);
  let count = 0;
  const places = [...named.keys()];
  for (const layer of LAYERS) {
    const pool = fleet.pool(layer, request.model)?.places ?? [];
    count += pool.length;
    for (let i = 0; i < pool.length && places.length < MAX_NODES; i++) {
      const place = pool[i];
      if (place !== undefined && !named.has(place)) places.push(place);
    }
  }
  const nodes = places.map((place) => {
    const { model, drawn } = named.get(place) ?? {};
    const first = place.options.filter(({ served }) => served.name === model);
    return nodeInputs(place, first, request, context, drawn === true);
  });
  return { nodes, whole: count === nodes.length && nodes.every((node) => node.models_left_out === undefined) };
}

/**
 * Nodes that are only busy come first: they tell why the job had to wait rather than go to the diagnostic echo. Then those
 * that serve the model.
 */
function refusedNodes(
  request: RouteRequest,
  fleet: Fleet,
  context: DecisionContext,
): Pick<DecisionInputs, "nodes" | "whole"> {
  const rank = (option: Option) => {
    if (!option.diagnostic && rejection(option, request, context)?.filter.momentary === true) return 0;
    return option.served.name === request.model ? 1 : 2;
  };
  const ranked = LAYERS.flatMap((layer) => fleet.pool(layer, undefined)?.places ?? []).map((place) => {
    const options = place.options.map((option) => ({ option, rank: rank(option) })).sort((a, b) => a.rank - b.rank);
    return { place, options: options.map(({ option }) => option), rank: options[0]?.rank ?? 2 };
  });
  const nodes = ranked
    .sort((a, b) => a.rank - b.rank)
    .slice(0, MAX_NODES)
    .map(({ place, options }) => nodeInputs(place, options, request, context, false));
  return { nodes, whole: nodes.reduce((sum, { models }) => sum + models.length, 0) === fleet.optionCount };
}

/** Written field by field: spreads of what may be absent cost more than the decision. */
function requestInputs(request: RouteRequest): RequestInputs {
  const inputs: RequestInputs = {
    job_id: request.jobId,
    task_type: request.taskType,
    security_level: request.dataClass,
    prompt_tokens: request.promptTokens,
    expected_output_tokens: request.expectedOutputTokens,
    context_tokens: request.contextTokens,
    encrypted: request.encrypted,
    deadline_unix_ms: request.deadlineMs,
    slo_ms: request.sloMs,
  };
  const { model, capabilities, vramGb, sessionId, exclude } = request;
  if (model !== undefined) inputs.model = model;
  if (capabilities.length > 0) inputs.capabilities = [...capabilities];
  if (vramGb !== undefined) inputs.vram_gb = vramGb;
  if (request.anonymised) inputs.anonymised = true;
  if (request.continues) inputs.continues = true;
  // A session's key is its caller's business.
  if (sessionId !== undefined) inputs.session_hash = hash32(sessionId).toString(16).padStart(8, "0");
  if (request.batch) inputs.batch = true;
  if (exclude.size > 0) inputs.excluded_nodes = [...exclude];
  return inputs;
}

/** @param first models that must be among those listed */
function nodeInputs(
  { view, options }: Place,
  first: readonly Option[],
  request: RouteRequest,
  context: DecisionContext,
  drawn: boolean,
): NodeInputs {
  const { record } = view;
  const listed = options.length === 1 ? options : [...new Set([...first, ...options])].slice(0, MAX_MODELS);
  const inputs: NodeInputs = {
    node_id: record.node_id,
    layer: record.layer,
    heard_unix_ms: view.receivedAtMs,
    models: listed.map((option) => modelInputs(option, request, context)),
  };
  if (listed.length < options.length) inputs.models_left_out = options.length - listed.length;
  if (drawn) inputs.drawn = true;
  if (context.home === view) inputs.home = true;
  const { require_encryption: sealed } = context.policy.routing.security[request.dataClass];
  if (sealed && sealKeyOf(record, context.nowMs) === undefined) inputs.no_seal_key = true;
  addState(inputs, view);
  addLoad(inputs, view);
  const { avg_latency_ms: meanMs, tokens_per_second: perSecond } = record.performance;
  if (meanMs !== null) inputs.avg_latency_ms = meanMs;
  if (perSecond !== null && listed.some(({ served }) => served.ms_per_token === null))
    inputs.tokens_per_second = perSecond;
  if (record.cost_factor !== 1) inputs.cost_factor = record.cost_factor;
  const { cpu: heldCelsius } = view.heldCelsius;
  if (heldCelsius !== null && heldCelsius > MAX_CPU_CELSIUS) {
    inputs.cpu_celsius = record.hardware.temperature_celsius ?? heldCelsius;
    inputs.cpu_held_celsius = heldCelsius;
  }
  if (record.hardware.gpus.length > 0) inputs.gpus = gpuInputs(view);
  return inputs;
}

function addState(inputs: NodeInputs, { record, rttMs, gone, excused, ejected }: NodeView): void {
  if (record.interval_ms !== 1000) inputs.interval_ms = record.interval_ms;
  if (rttMs !== 1) inputs.rtt_ms = rttMs;
  if (record.status !== "healthy") inputs.status = record.status;
  if (record.status_reason !== null) inputs.status_reason = record.status_reason;
  if (gone) inputs.gone = true;
  if (record.sleep !== null) inputs.asleep = true;
  if (excused) inputs.excused = true;
  if (ejected !== undefined) inputs.ejected = ejected;
}

function addLoad(inputs: NodeInputs, { record: { load }, dispatchedSinceHeartbeat, correction }: NodeView): void {
  if (load !== null) {
    inputs.slots = load.slots;
    if (load.running > 0) inputs.running = load.running;
    if (load.queued > 0) inputs.queued = load.queued;
    if (load.queue_limit > 0) inputs.queue_limit = load.queue_limit;
    if (load.pending_prefill_tokens > 0) inputs.pending_prefill_tokens = load.pending_prefill_tokens;
  }
  if (dispatchedSinceHeartbeat > 0) inputs.dispatched_since_heartbeat = dispatchedSinceHeartbeat;
  if (correction !== 1) inputs.correction = correction;
}

/** What filters and scorers make of a node's GPUs, as one. */
function gpuInputs(view: NodeView): NonNullable<NodeInputs["gpus"]> {
  const inputs: NonNullable<NodeInputs["gpus"]> = {};
  let vramGb: number | null = 0;
  let watts = 0;
  for (const { vram_total_gb, power_limit_watts, sick } of view.record.hardware.gpus) {
    if (sick === null) vramGb = vramGb === null || vram_total_gb === null ? null : vramGb + vram_total_gb;
    watts = Math.max(watts, power_limit_watts ?? 0);
  }
  if (vramGb !== null) inputs.vram_total_gb = vramGb;
  if (watts > 0) inputs.power_limit_watts = watts;
  const hot = hotGpu(view);
  if (hot !== undefined) {
    inputs.hot = hot.name;
    inputs.hot_celsius = hot.celsius;
    inputs.hot_held_celsius = hot.held;
  }
  return inputs;
}

function modelInputs(option: Option, request: RouteRequest, context: DecisionContext): ModelInputs {
  const { served, view, diagnostic } = option;
  const inputs: ModelInputs = { model: served.name, runtime: served.runtime };
  for (const { name, healthy, continues, status_reason: why } of view.record.runtimes) {
    if (name !== served.runtime) continue;
    if (!healthy) inputs.runtime_healthy = false;
    if (!healthy && why !== null) inputs.runtime_reason = why;
    if (request.continues && continues) inputs.continues = true;
  }
  if (diagnostic) inputs.diagnostic = true;
  if (served.loaded !== null) inputs.loaded = served.loaded;
  if (served.context_length !== null) inputs.context_tokens = served.context_length;
  if (served.capabilities.length > 0) inputs.capabilities = served.capabilities;
  if (served.loaded === false) {
    if (served.size_gb !== null) inputs.size_gb = served.size_gb;
    if (served.load_gb_per_second !== null) inputs.load_gb_per_second = served.load_gb_per_second;
  }
  if (served.prefill_tokens_per_second !== null) inputs.prefill_tokens_per_second = served.prefill_tokens_per_second;
  if (served.ms_per_token !== null) inputs.ms_per_token = served.ms_per_token;
  if (request.model === undefined) inputs.quality = qualityOf(option, context);
  return inputs;
}
