import type { Candidate, Decision } from "../../bus-schemas/index.ts";
import type { Fleet } from "./fleet.ts";
import { layersFor, pickNode, rejection, type Pick } from "./pick.ts";
import { refusal } from "./refusal.ts";
import { scoreTerms } from "./score.ts";
import { chooseTool } from "./tools.ts";
import type { DecisionContext, Option, Policy, RouteRequest } from "./types.ts";

/** A fleet of up to so many options is shown whole; of a larger one the drawn options are. */
const SHOW_ALL_UP_TO = 64;
/** So many next picks are named. */
const MAX_ALTERNATIVES = 3;

/**
 * Decides where a job goes and explains it. Pure: the same request, fleet, policy, time and random numbers give the same
 * decision (DESIGN promise 7). Never throws for want of a node: that is `outcome: "refused"` with its error.
 */
export function decide(
  request: RouteRequest,
  fleet: Fleet,
  policy: Policy,
  nowMs: number,
  random: () => number,
): Decision {
  const context: DecisionContext = { policy, nowMs, liveRouters: fleet.liveRouters };
  const pick = pickNode(request, fleet, context, random);
  const total = countOptions(fleet);
  const shown = total <= SHOW_ALL_UP_TO || pick === undefined ? [...fleet.all()] : pick.drawn;
  const candidates = shown.map((option) => candidate(option, request, context));
  const common = {
    security_level: request.dataClass,
    task_type: request.taskType,
    tool: chooseTool(request),
    candidates: candidates.slice(0, SHOW_ALL_UP_TO),
    candidates_total: total,
    rejected_by: countReasons(candidates),
    policy_revision: policy.revision,
  };
  if (pick === undefined) {
    const error = refusal(request, shown, candidates, context);
    return {
      ...common,
      outcome: "refused",
      node_id: null,
      layer: null,
      model: null,
      score: null,
      reason: error.message.slice(0, 500),
      alternatives: [],
      error: error.toWire(),
    };
  }
  const { view, served, layer } = pick.option;
  const score = scoreTerms(pick.option, request, context);
  return {
    ...common,
    outcome: "routed",
    node_id: view.record.node_id,
    layer,
    model: served.name,
    score,
    reason: sentence(pick, score.total, score.predicted_ms, request),
    alternatives: alternatives(pick, candidates, layersFor(request, context)),
    error: null,
  };
}

function candidate(option: Option, request: RouteRequest, context: DecisionContext): Candidate {
  const rejected = rejection(option, request, context);
  return {
    node_id: option.view.record.node_id,
    layer: option.layer,
    model: option.served.name,
    rejected: rejected === undefined ? null : { filter: rejected.filter.name, reason: rejected.reason },
    score: rejected === undefined ? scoreTerms(option, request, context) : null,
  };
}

function sentence(
  { option, drawn, survivors }: Pick,
  score: number,
  predictedMs: number,
  request: RouteRequest,
): string {
  const { view, served, layer, diagnostic } = option;
  const from =
    survivors === undefined
      ? `best of ${drawn.length} drawn from its layer`
      : survivors <= drawn.length
        ? `best of ${survivors} that can take it`
        : `best of ${drawn.length} drawn from ${survivors}`;
  const what = request.batch ? "done" : "first token";
  const note = diagnostic ? " (diagnostic echo: no real model is there)" : "";
  return `${layer} ${view.record.node_id} runs ${served.name}${note}: score ${score.toFixed(2)}, ${survivors === 1 ? "the only one that can take it" : from}; ${what} expected in ${Math.round(predictedMs)} ms`;
}

/** The best of the rest by layer and score, one for each other node. */
function alternatives(
  { option }: Pick,
  candidates: readonly Candidate[],
  layers: readonly string[],
): Decision["alternatives"] {
  const seen = new Set([option.view.record.node_id]);
  const rest = candidates.filter((each) => each.score !== null && layers.includes(each.layer));
  rest.sort(
    (a, b) => layers.indexOf(a.layer) - layers.indexOf(b.layer) || (b.score?.total ?? 0) - (a.score?.total ?? 0),
  );
  const next: Decision["alternatives"] = [];
  for (const { node_id, layer, model } of rest) {
    if (model === null || seen.has(node_id) || next.length === MAX_ALTERNATIVES) continue;
    seen.add(node_id);
    next.push({ node_id, layer, model });
  }
  return next;
}

function countOptions(fleet: Fleet): number {
  return (
    fleet.options("L0", undefined).length +
    fleet.options("L1", undefined).length +
    fleet.options("L2", undefined).length
  );
}

function countReasons(candidates: readonly Candidate[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { rejected } of candidates)
    if (rejected !== null) counts[rejected.filter] = (counts[rejected.filter] ?? 0) + 1;
  return counts;
}
