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
import { hottestGpu, MAX_CPU_CELSIUS, MAX_GPU_CELSIUS } from "./filters/temperature.ts";
import type { Fleet } from "./fleet.ts";
import { hash32 } from "./hash.ts";
import type { PickInContext } from "./pick.ts";
import type { Place } from "./pool.ts";
import { qualityOf } from "./quality.ts";
import { rejection } from "./reject.ts";
import type { DecisionContext, NodeView, Option, Policy, RouteRequest } from "./types.ts";

/** Nodes in a record, at most, and models of each: it stays near 2 KB. */
const MAX_NODES = 4;
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

function requestInputs(request: RouteRequest): RequestInputs {
  const { model, capabilities, vramGb, anonymised, sessionId, batch, exclude } = request;
  return {
    job_id: request.jobId,
    task_type: request.taskType,
    security_level: request.dataClass,
    ...(model === undefined ? {} : { model }),
    ...(capabilities.length === 0 ? {} : { capabilities: [...capabilities] }),
    prompt_tokens: request.promptTokens,
    expected_output_tokens: request.expectedOutputTokens,
    context_tokens: request.contextTokens,
    ...(vramGb === undefined ? {} : { vram_gb: vramGb }),
    encrypted: request.encrypted,
    ...(anonymised ? { anonymised } : {}),
    // A session's key is its caller's business.
    ...(sessionId === undefined ? {} : { session_hash: hash32(sessionId).toString(16).padStart(8, "0") }),
    deadline_unix_ms: request.deadlineMs,
    slo_ms: request.sloMs,
    ...(batch ? { batch } : {}),
    ...(exclude.size === 0 ? {} : { excluded_nodes: [...exclude] }),
  };
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
  const { avg_latency_ms, tokens_per_second } = record.performance;
  const listed = [...new Set([...first, ...options])].slice(0, MAX_MODELS);
  const leftOut = options.length - listed.length;
  const { load, status_reason } = record;
  const { temperature_celsius: celsius } = record.hardware;
  return {
    node_id: record.node_id,
    layer: record.layer,
    ...(drawn ? { drawn } : {}),
    heard_unix_ms: view.receivedAtMs,
    ...(record.interval_ms === 1000 ? {} : { interval_ms: record.interval_ms }),
    ...(view.rttMs === 1 ? {} : { rtt_ms: view.rttMs }),
    ...(record.status === "healthy" ? {} : { status: record.status }),
    ...(status_reason === null ? {} : { status_reason }),
    ...(view.gone ? { gone: view.gone } : {}),
    ...(load === null ? {} : { slots: load.slots }),
    ...(load === null || load.running === 0 ? {} : { running: load.running }),
    ...(load === null || load.queued === 0 ? {} : { queued: load.queued }),
    ...(load === null || load.queue_limit === 0 ? {} : { queue_limit: load.queue_limit }),
    ...(load === null || load.pending_prefill_tokens === 0
      ? {}
      : { pending_prefill_tokens: load.pending_prefill_tokens }),
    ...(view.dispatchedSinceHeartbeat === 0 ? {} : { dispatched_since_heartbeat: view.dispatchedSinceHeartbeat }),
    ...(view.correction === 1 ? {} : { correction: view.correction }),
    ...(avg_latency_ms === null ? {} : { avg_latency_ms }),
    ...(tokens_per_second === null || listed.every(({ served }) => served.ms_per_token !== null)
      ? {}
      : { tokens_per_second }),
    ...(record.cost_factor === 1 ? {} : { cost_factor: record.cost_factor }),
    ...(celsius === null || celsius <= MAX_CPU_CELSIUS ? {} : { cpu_celsius: celsius }),
    ...gpuInputs(view),
    models: listed.map((option) => modelInputs(option, request.model === undefined, context)),
    ...(leftOut === 0 ? {} : { models_left_out: leftOut }),
  };
}

/** What filters and scorers make of a node's GPUs, as one. */
function gpuInputs({ record }: NodeView): Pick<NodeInputs, "gpus"> {
  const { gpus } = record.hardware;
  if (gpus.length === 0) return {};
  let vramGb: number | null = 0;
  let watts = 0;
  for (const { vram_total_gb, power_limit_watts } of gpus) {
    vramGb = vramGb === null || vram_total_gb === null ? null : vramGb + vram_total_gb;
    watts = Math.max(watts, power_limit_watts ?? 0);
  }
  const hottest = hottestGpu(gpus);
  const celsius = hottest?.temperature_celsius ?? null;
  return {
    gpus: {
      ...(vramGb === null ? {} : { vram_total_gb: vramGb }),
      ...(hottest === undefined || celsius === null || celsius <= MAX_GPU_CELSIUS
        ? {}
        : { hottest: hottest.name, hottest_celsius: celsius }),
      ...(watts === 0 ? {} : { power_limit_watts: watts }),
    },
  };
}

function modelInputs(option: Option, anyModel: boolean, context: DecisionContext): ModelInputs {
  const { served, view, diagnostic } = option;
  const unhealthy = view.record.runtimes.some((runtime) => runtime.name === served.runtime && !runtime.healthy);
  const { capabilities, loaded, context_length, size_gb, prefill_tokens_per_second, ms_per_token } = served;
  return {
    model: served.name,
    runtime: served.runtime,
    ...(unhealthy ? { runtime_healthy: false } : {}),
    ...(diagnostic ? { diagnostic } : {}),
    ...(loaded === null ? {} : { loaded }),
    ...(context_length === null ? {} : { context_tokens: context_length }),
    ...(capabilities.length === 0 ? {} : { capabilities }),
    ...(size_gb === null || loaded !== false ? {} : { size_gb }),
    ...(prefill_tokens_per_second === null ? {} : { prefill_tokens_per_second }),
    ...(ms_per_token === null ? {} : { ms_per_token }),
    ...(anyModel ? { quality: qualityOf(option, context) } : {}),
  };
}
