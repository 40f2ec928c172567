import { coldStartMs, type Decision } from "../../bus-schemas/index.ts";
import type { Fleet } from "./fleet.ts";
import { pickInContext, pickNode, type Pick } from "./pick.ts";
import { refusal } from "./refusal.ts";
import { scoreTerms } from "./score.ts";
import { survey } from "./survey.ts";
import type { Option, Policy, RouteRequest } from "./types.ts";

/** A fleet of up to so many options is explained whole, and so many candidates are listed at most. */
const LISTED = 64;
/** So many next picks are named. */
const MAX_ALTERNATIVES = 3;

/**
 * Decides where a job goes and explains it. Pure: the same request, fleet, policy, time and random numbers give the same
 * decision (DESIGN promise 7), and the node is the one that `pickNode` gives for them. Never throws for want of a node:
 * that is `outcome: "refused"` with its error.
 * @param detail of a fleet of more than 64 models on nodes, `drawn` explains those that were scored and costs the same
 * for any fleet; `all` counts for every one which filter removed it. A refusal always looks at all.
 */
export function decide(
  request: RouteRequest,
  fleet: Fleet,
  policy: Policy,
  nowMs: number,
  random: () => number,
  detail: "drawn" | "all" = "drawn",
): Decision {
  const { pick, context } = pickInContext(request, fleet, policy, nowMs, random);
  const whole = pick === undefined || detail === "all" || fleet.optionCount <= LISTED;
  const shown = whole ? drawnFirst(pick?.drawn ?? [], fleet) : pick.drawn;
  const { candidates, rejectedBy } = survey(shown, request, context, LISTED);
  const common = {
    security_level: request.dataClass,
    task_type: request.taskType,
    tool: context.tool,
    sealed: policy.routing.security[request.dataClass].require_encryption,
    candidates,
    candidates_total: fleet.optionCount,
    rejected_by: rejectedBy,
    policy_revision: policy.revision,
  };
  if (pick === undefined) {
    const error = refusal(request, fleet, context, rejectedBy);
    return {
      ...common,
      outcome: "refused",
      node_id: null,
      layer: null,
      model: null,
      score: null,
      cold_start_ms: null,
      reason: error.message.slice(0, 500),
      alternatives: [],
      error: error.toWire(),
    };
  }
  const { view, served, layer } = pick.option;
  const score = scoreTerms(pick.option, request, context);
  const coldMs = Math.round(coldStartMs(served));
  return {
    ...common,
    outcome: "routed",
    node_id: view.record.node_id,
    layer,
    model: served.name,
    score,
    cold_start_ms: coldMs === 0 ? null : coldMs,
    reason: sentence(pick, score.total, score.predicted_ms, request),
    alternatives: alternatives(pick, request, fleet, policy, nowMs, random),
    error: null,
  };
}

/** So that a long fleet's list, which is cut, has in it what the pick was between. */
function* drawnFirst(drawn: readonly Option[], fleet: Fleet): Iterable<Option> {
  const small = fleet.optionCount <= LISTED;
  if (!small) yield* drawn;
  for (const option of fleet.options()) if (small || !drawn.includes(option)) yield option;
}

function sentence({ option, drawn, from }: Pick, score: number, predictedMs: number, request: RouteRequest): string {
  const { view, served, layer, diagnostic } = option;
  const note = diagnostic ? " (diagnostic echo: no real model fits)" : "";
  const what = request.batch ? "done" : "first token";
  const head = `${layer} ${view.record.node_id} runs ${served.name}${note}: score ${score.toFixed(2)}`;
  const coldMs = coldStartMs(served);
  const cold = coldMs === 0 ? "" : `, of which ${Math.round(coldMs)} ms to load the model`;
  return `${head}, ${choice(drawn.length, from)}; ${what} expected in ${Math.round(predictedMs)} ms${cold}`;
}

function choice(drawn: number, { nodes, filtered }: Pick["from"]): string {
  if (!filtered) return `best of ${drawn} drawn from the layer's ${nodes}`;
  if (nodes === 1) return "the layer's only one that can take it";
  return nodes <= drawn ? `best of ${nodes} that can take it` : `best of ${drawn} drawn from ${nodes}`;
}

/** What would be picked if this one refused, and the next, through the remaining layers. */
function alternatives(
  { option }: Pick,
  request: RouteRequest,
  fleet: Fleet,
  policy: Policy,
  nowMs: number,
  random: () => number,
): Decision["alternatives"] {
  const exclude = new Set([...request.exclude, option.view.record.node_id]);
  const without = { ...request, exclude };
  const next: Decision["alternatives"] = [];
  while (next.length < MAX_ALTERNATIVES) {
    const pick = pickNode(without, fleet, policy, nowMs, random);
    if (pick === undefined) break;
    const { view, layer, served } = pick.option;
    next.push({ node_id: view.record.node_id, layer, model: served.name });
    exclude.add(view.record.node_id);
  }
  return next;
}
