import { kwhOfJob } from "../energy.ts";
import type { Option, Policy, RouteRequest, Scorer } from "../types.ts";

/** Price assumed for a model that the registry does not know, US dollars per 1,000 tokens: between SEED's two local models. */
const ASSUMED_PRICE = 0.3;
/** Cost at which the score is one half, US dollars per 1,000 tokens: SEED's large local model. */
const HALF_AT = 0.6;

/**
 * SEED 成本效益 (综合成本考量: 单位成本 $/1K tokens and 电力成本 kWh/request): `K = 1/(1 + cost/0.6)` with
 * `cost = cost_per_1k_tokens · cost_factor + kWh per 1,000 tokens · tariff`: the registry's price, what the node says of its
 * own relative cost, and the electricity of the job at `deployment.electricity_usd_per_kwh`. Absolute, so that a cheap node
 * is cheap whoever else is there.
 */
export const cost: Scorer = {
  name: "cost",
  score: (option, request, { policy }) => 1 / (1 + usdPer1kTokens(option, request, policy) / HALF_AT),
};

/** What this job's tokens cost on this node, US dollars per 1,000 of them. */
export function usdPer1kTokens(option: Option, request: RouteRequest, policy: Policy): number {
  const { view, served } = option;
  const price = (policy.models.get(served.name)?.cost_per_1k_tokens ?? ASSUMED_PRICE) * view.record.cost_factor;
  const kiloTokens = (request.promptTokens + request.expectedOutputTokens) / 1000;
  return kiloTokens === 0 ? price : price + (kwhOfJob(option, request) / kiloTokens) * policy.electricityUsdPerKwh;
}
