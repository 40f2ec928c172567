import { coldStartMs, type Candidate, type Decision, type Layer, type Target } from "../../bus-schemas/index.ts";
import type { Fleet } from "./fleet.ts";
import { outlier } from "./filters/outlier.ts";
import { pickInContext, pickNode, type Pick, type PickInContext } from "./pick.ts";
import { refusal } from "./refusal.ts";
import { shownTerms } from "./score.ts";
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
 * @param onPick told what the decision was made from, for its record (record-inputs.ts)
 */
export function decide(
  request: RouteRequest,
  fleet: Fleet,
  policy: Policy,
  nowMs: number,
  random: () => number,
  detail: "drawn" | "all" = "drawn",
  onPick?: (made: PickInContext) => void,
): Decision {
  const made = pickInContext(request, fleet, policy, nowMs, random);
  onPick?.(made);
  const { pick, context } = made;
  const small = fleet.optionCount <= LISTED;
  const whole = pick === undefined || detail === "all" || small;
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
  if (pick === undefined && rejectedBy[outlier.name] !== undefined)
    return decide({ ...request, lastResort: true }, fleet, policy, nowMs, random, detail, onPick);
  if (pick === undefined) {
    const error = refusal(request, fleet, context, rejectedBy);
    return {
      ...common,
      outcome: "refused",
      node_id: null,
      layer: null,
      model: null,
      target: null,
      score: null,
      cold_start_ms: null,
      reason: error.message.slice(0, 500),
      alternatives: [],
      error: error.toWire(),
    };
  }
  const { view, served, layer } = pick.option;
  const score = shownTerms(pick.option, request, context);
  return {
    ...common,
    outcome: "routed",
    node_id: view.record.node_id,
    layer,
    model: served.name,
    target: targetOf(pick.option),
    score,
    cold_start_ms: announcedMs(pick.option),
    reason: sentence(pick, score.total, score.predicted_ms, request),
    // Of a small fleet all are scored by now; a spill-over looks twice, with other filters.
    alternatives:
      small && !context.inTimeOnly
        ? nextBest(pick, candidates, context.layers)
        : nextPicks(
            [pick.option, nextBest(pick, small ? [] : candidates.slice(0, pick.drawn.length), context.layers)],
            whole ? MAX_ALTERNATIVES : 1,
            (without) => pickNode(without, fleet, policy, nowMs, random),
            request,
          ),
    error: null,
  };
}

/** The cold start that a caller is told of, milliseconds; null when there is none. */
export function announcedMs({ served }: Option): number | null {
  const coldMs = Math.round(coldStartMs(served));
  return coldMs === 0 ? null : coldMs;
}

/** A cloud's jurisdiction is its provider's to say: where the egress node stands says nothing of it. */
function targetOf({ view: { record }, served, layer }: Option): Target {
  const runtime = record.runtimes.find(({ name }) => name === served.runtime);
  return {
    place: layer === "L2" ? "cloud" : "local",
    jurisdiction: runtime?.jurisdiction ?? (layer === "L2" ? null : record.jurisdiction),
    model_digest: served.digest,
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
  const hope = view.ejected === undefined ? "" : " as a last resort";
  const head = `${layer} ${view.record.node_id} runs ${served.name}${hope}${note}: score ${score.toFixed(2)}`;
  const coldMs = coldStartMs(served);
  const cold = coldMs === 0 ? "" : `, of which ${Math.round(coldMs)} ms to load the model`;
  return `${head}, ${choice(drawn.length, from)}; ${what} expected in ${Math.round(predictedMs)} ms${cold}`;
}

function choice(drawn: number, { nodes, filtered }: Pick["from"]): string {
  if (!filtered) return `best of ${drawn} drawn from the layer's ${nodes}`;
  if (nodes === 1) return "the layer's only one that can take it";
  return nodes <= drawn ? `best of ${nodes} that can take it` : `best of ${drawn} drawn from ${nodes}`;
}

type Alternatives = Decision["alternatives"];

/** The other nodes of a survey: by layer, in a layer the best first, each with its best model. */
function nextBest({ option }: Pick, candidates: readonly Candidate[], layers: readonly Layer[]): Alternatives {
  const named = new Set([option.view.record.node_id]);
  const next: Alternatives = [];
  for (const layer of layers) {
    const fit = candidates.filter((each) => each.layer === layer && each.score !== null);
    fit.sort((a, b) => (b.score?.total ?? 0) - (a.score?.total ?? 0));
    for (const { node_id, model } of fit) {
      if (next.length === MAX_ALTERNATIVES) return next;
      if (model === null || named.has(node_id)) continue;
      named.add(node_id);
      next.push({ node_id, layer, model });
    }
  }
  return next;
}

/**
 * Adds to `next`, the others of the draw, what would be picked without these, until `wanted` are named: each pick costs as
 * much as the decision itself.
 */
function nextPicks(
  [chosen, next]: [Option, Alternatives],
  wanted: number,
  pickFor: (request: RouteRequest) => Pick | undefined,
  request: RouteRequest,
): Alternatives {
  const exclude = new Set([...request.exclude, chosen.view.record.node_id, ...next.map(({ node_id }) => node_id)]);
  while (next.length < wanted) {
    const pick = pickFor({ ...request, exclude });
    if (pick === undefined) break;
    const { view, layer, served } = pick.option;
    next.push({ node_id: view.record.node_id, layer, model: served.name });
    exclude.add(view.record.node_id);
  }
  return next;
}
