import type { ScoreTerms } from "../../bus-schemas/index.ts";
import { predictedMs } from "./predict.ts";
import { SCORERS } from "./scorers/index.ts";
import type { DecisionContext, Option, RouteRequest } from "./types.ts";

/** Longest prediction that a message may carry, milliseconds; a node that claims a token per month stays within it. */
const MAX_SHOWN_MS = 2_592_000_000;

/** SEED 评分公式: `W_security·S + W_capability·C + W_latency·L + W_cost·K`, each term in [0,1]. */
export function totalScore(option: Option, request: RouteRequest, context: DecisionContext): number {
  const { weights } = context;
  let total = 0;
  for (const scorer of SCORERS) total += weights[scorer.name] * scorer.score(option, request, context);
  return total;
}

/** The terms as a decision shows them: four decimals, tenths of a millisecond. All 17 digits made a record a seventh longer. */
export function shownTerms(option: Option, request: RouteRequest, context: DecisionContext): ScoreTerms {
  const terms = scoreTerms(option, request, context);
  for (const { name } of SCORERS) terms[name] = Math.round(terms[name] * 1e4) / 1e4;
  terms.total = Math.round(terms.total * 1e4) / 1e4;
  terms.predicted_ms = Math.round(terms.predicted_ms * 10) / 10;
  return terms;
}

/** The same with its terms, for people. */
export function scoreTerms(option: Option, request: RouteRequest, context: DecisionContext): ScoreTerms {
  const { weights } = context;
  const predicted_ms = Math.min(predictedMs(option, request, context), MAX_SHOWN_MS);
  const terms: ScoreTerms = { total: 0, security: 0, capability: 0, latency: 0, cost: 0, predicted_ms };
  for (const { name, score } of SCORERS) {
    terms[name] = score(option, request, context);
    terms.total += weights[name] * terms[name];
  }
  return terms;
}
