import type { Scorer } from "../types.ts";

/** Price assumed for a model that the registry does not know, US dollars per 1,000 tokens: between SEED's two local models. */
const ASSUMED_PRICE = 0.3;
/** Cost at which the score is one half, US dollars per 1,000 tokens: SEED's large local model. */
const HALF_AT = 0.6;

/**
 * SEED 成本效益: `K = 1/(1 + cost/0.6)` with cost = the registry's `cost_per_1k_tokens` × the node's `cost_factor`.
 * Absolute, so that a cheap node is cheap whoever else is there.
 */
export const cost: Scorer = {
  name: "cost",
  score({ view, served }, _request, { policy }) {
    const price = policy.models.get(served.name)?.cost_per_1k_tokens ?? ASSUMED_PRICE;
    return 1 / (1 + (price * view.record.cost_factor) / HALF_AT);
  },
};
