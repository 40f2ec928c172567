/**
 * Makes recorded decisions again, by the filters, scorers and choice that made them.
 * 1. Only the record and the policy are read: no clock, no fleet, no random numbers.
 * 2. What the random draw chose is taken from the record; everything else is worked out anew.
 * 3. Numbers are compared to the last digit that the record shows.
 */
import {
  DECISION_INPUTS_VERSION,
  DecisionInputs,
  MeshError,
  NodeRecord,
  parseOrThrow,
  type Decision,
  type NodeInputs,
  type RequestInputs,
} from "../../bus-schemas/index.ts";
import { announcedMs } from "./decide.ts";
import { Fleet } from "./fleet.ts";
import { CHOICES, fitsAt, pickBy, type Draw, type PickInContext } from "./pick.ts";
import { refusal } from "./refusal.ts";
import { shownTerms } from "./score.ts";
import { survey } from "./survey.ts";
import type { Policy, RouteRequest } from "./types.ts";

/** One value that is not what the record says. */
export interface Difference {
  /** Such as `candidates.ws-7 qwen2.5:7b.score.latency`. */
  path: string;
  recorded: unknown;
  replayed: unknown;
}

/** What became of a recorded decision when it was made again. */
export interface Replay {
  /** None: it is the same, to the last digit shown. */
  differences: Difference[];
  /** Every node that bore on the decision was in the record; else those that were scored and a few more. */
  whole: boolean;
  /** Candidates whose scores or reasons were worked out again. */
  candidates: number;
}

/**
 * A record's inputs, checked.
 * @throws MeshError `bad_request`: of a version that this build does not read, or naming the field that is not well formed.
 */
export function readInputs(recorded: unknown): DecisionInputs {
  const version = (recorded as { version?: unknown } | null | undefined)?.version;
  if (version === undefined || version === null) {
    throw new MeshError("bad_request", "inputs: the record holds none; it is older than they are", { field: "inputs" });
  }
  if (version !== DECISION_INPUTS_VERSION) {
    const message = `inputs.version: ${JSON.stringify(version)?.slice(0, 20)}, this build reads ${DECISION_INPUTS_VERSION}`;
    throw new MeshError("bad_request", message, { field: "inputs.version" });
  }
  return parseOrThrow(DecisionInputs, recorded);
}

/** The nodes and the job of a record, and the choice that production code makes of them by `policy`. */
export function redecide(
  inputs: DecisionInputs,
  policy: Policy,
): PickInContext & { request: RouteRequest; fleet: Fleet } {
  const request = toRequest(inputs.request);
  const fleet = new Fleet();
  fleet.liveRouters = inputs.live_routers;
  const qualities = new Map<string, number>();
  for (const node of inputs.nodes) {
    enter(node, fleet);
    for (const { model, quality } of node.models) if (quality !== undefined) qualities.set(model, quality);
  }
  fleet.qualities = new Map([[request.taskType, qualities]]);
  const drawn = new Set(inputs.nodes.flatMap((node) => (node.drawn === true ? [node.node_id] : [])));
  const homeId = inputs.nodes.find((node) => node.home === true)?.node_id;
  const draw: Draw = (pool, context) => {
    const fit = pool.places.filter((place) => fitsAt(place, request, context));
    const known = fit.filter(({ view }) => drawn.has(view.record.node_id));
    // By another policy the choice may be among nodes that were not drawn then.
    const all = known.length === 0 || (inputs.whole && fit.length <= CHOICES);
    const home = fit.find(({ view }) => view.record.node_id === homeId);
    return { places: all ? fit : known, home, from: { nodes: fit.length, filtered: true } };
  };
  return { ...pickBy(draw, request, fleet, policy, inputs.now_unix_ms), request, fleet };
}

/** Makes a decision again and says what differs from its record. `policy` is the one that it was made by. */
export function replayDecision(decision: Decision, inputs: DecisionInputs, policy: Policy): Replay {
  const { pick, context, request, fleet } = redecide(inputs, policy);
  const differences: Difference[] = [];
  const compare = (path: string, recorded: unknown, replayed: unknown) => {
    for (const difference of differ(path, recorded, replayed)) differences.push(difference);
  };
  const option = pick?.option;
  compare("security_level", decision.security_level, request.dataClass);
  compare("task_type", decision.task_type, request.taskType);
  compare("tool", decision.tool, context.tool);
  compare("outcome", decision.outcome, option === undefined ? "refused" : "routed");
  compare("node_id", decision.node_id, option?.view.record.node_id ?? null);
  compare("layer", decision.layer, option?.layer ?? null);
  compare("model", decision.model, option?.served.name ?? null);
  compare("cold_start_ms", decision.cold_start_ms, option === undefined ? null : announcedMs(option));
  compare("score", decision.score, option === undefined ? null : shownTerms(option, request, context));
  const { candidates, rejectedBy } = survey(fleet.options(), request, context, Infinity);
  // Counts and the error of a refusal are of the whole fleet.
  if (inputs.whole && option === undefined) {
    compare("error", decision.error, refusal(request, fleet, context, rejectedBy).toWire());
    compare("rejected_by", decision.rejected_by, rejectedBy);
  }
  const again = Map.groupBy(candidates, ({ node_id, model }) => `${node_id} ${model}`);
  let compared = 0;
  for (const recorded of decision.candidates) {
    const name = `${recorded.node_id} ${recorded.model}`;
    const [replayed, ...same] = again.get(name) ?? [];
    if (replayed === undefined) continue;
    compared++;
    // A model that two runtimes of a node serve is there twice.
    if (same.some((each) => differ("", recorded, each).length === 0)) continue;
    compare(`candidates.${name}`, recorded, replayed);
  }
  return { differences, whole: inputs.whole, candidates: compared };
}

function differ(path: string, recorded: unknown, replayed: unknown): Difference[] {
  if (recorded === replayed) return [];
  if (!isObject(recorded) || !isObject(replayed)) return [{ path, recorded, replayed }];
  return [...new Set([...Object.keys(recorded), ...Object.keys(replayed)])].flatMap((key) =>
    differ(`${path}.${key}`, recorded[key], replayed[key]),
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function toRequest(inputs: RequestInputs): RouteRequest {
  return {
    jobId: inputs.job_id,
    taskType: inputs.task_type,
    dataClass: inputs.security_level,
    model: inputs.model,
    capabilities: inputs.capabilities ?? [],
    promptTokens: inputs.prompt_tokens,
    expectedOutputTokens: inputs.expected_output_tokens,
    contextTokens: inputs.context_tokens,
    vramGb: inputs.vram_gb,
    encrypted: inputs.encrypted,
    anonymised: inputs.anonymised === true,
    continues: inputs.continues === true,
    // It is read by the draw only, which is recorded.
    sessionId: undefined,
    deadlineMs: inputs.deadline_unix_ms,
    sloMs: inputs.slo_ms,
    batch: inputs.batch === true,
    exclude: new Set(inputs.excluded_nodes),
  };
}

function enter(node: NodeInputs, fleet: Fleet): void {
  const view = fleet.upsert(toRecord(node), node.heard_unix_ms);
  view.rttMs = node.rtt_ms ?? 1;
  view.dispatchedSinceHeartbeat = node.dispatched_since_heartbeat ?? 0;
  view.correction = node.correction ?? 1;
  view.gone = node.gone === true;
  view.excused = node.excused === true;
  view.ejected = node.ejected;
  view.heldCelsius = { cpu: node.cpu_held_celsius ?? null, gpus: [node.gpus?.hot_held_celsius ?? null] };
}

/** Nothing is sealed in a replay. */
const ANY_KEY = { kid: "replayed", public_key: "A".repeat(43), not_after_unix_ms: 9_999_999_999_999 };

/** What is left out takes the value that the record's schema documents, which is the node record's own default. */
function toRecord(node: NodeInputs): NodeRecord {
  const { gpus, slots, models } = node;
  const gpu = {
    name: gpus?.hot ?? "GPU",
    vram_total_gb: gpus?.vram_total_gb,
    temperature_celsius: gpus?.hot_celsius,
    power_limit_watts: gpus?.power_limit_watts,
  };
  const { running, queued, queue_limit, pending_prefill_tokens } = node;
  return parseOrThrow(NodeRecord, {
    node_id: node.node_id,
    layer: node.layer,
    status: node.status ?? "healthy",
    status_reason: node.status_reason,
    interval_ms: node.interval_ms,
    hardware: { gpus: gpus === undefined ? [] : [gpu], temperature_celsius: node.cpu_celsius },
    served_models: models.map(({ model: name, context_tokens: context_length, ...model }) => ({
      ...model,
      name,
      context_length,
    })),
    runtimes: models.map(({ runtime: name, runtime_healthy: healthy, runtime_reason, diagnostic, continues }) => ({
      name,
      status_reason: runtime_reason,
      kind: name,
      healthy,
      diagnostic,
      continues,
    })),
    load: slots === undefined ? null : { slots, running, queued, queue_limit, pending_prefill_tokens },
    performance: { avg_latency_ms: node.avg_latency_ms, tokens_per_second: node.tokens_per_second },
    boot_id: "replayed",
    seal_keys: node.no_seal_key === true ? [] : [ANY_KEY],
    cost_factor: node.cost_factor,
    sleep: node.asleep === true ? {} : null,
    last_heartbeat: "1970-01-01T00:00:00Z",
  });
}
