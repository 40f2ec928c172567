import { capabilitiesOf, contextWindow } from "../capabilities.ts";
import { qualityOf } from "../quality.ts";
import type { Option, Policy, RouteRequest, Scorer } from "../types.ts";

/** Share of the model's quality; the rest is how well its abilities and window fit. */
const QUALITY_SHARE = 0.5;
/** A window this many times the need leaves room for the conversation to go on. */
const ROOMY = 2;

/**
 * SEED 模型能力与任务需求匹配度: half how well abilities and context fit, half the model's quality at the task type. A model that the
 * caller named fits by definition; the diagnostic echo fits nothing.
 */
export const capability: Scorer = {
  name: "capability",
  score(option, request, context) {
    const { policy } = context;
    if (option.diagnostic) return 0;
    if (request.model !== undefined) return 1;
    const fit = covered(option, request, policy) * (0.5 + 0.5 * room(option, request, policy));
    return (1 - QUALITY_SHARE) * fit + QUALITY_SHARE * qualityOf(option, context);
  },
};

/** Share of the wanted abilities that the model has. */
function covered(option: Option, { capabilities }: RouteRequest, policy: Policy): number {
  if (capabilities.length === 0) return 1;
  const has = capabilitiesOf(option, policy);
  return capabilities.filter((name) => has.includes(name)).length / capabilities.length;
}

/** 1 for a window of twice the need or more, or an unknown one. */
function room(option: Option, { contextTokens }: RouteRequest, policy: Policy): number {
  const window = contextWindow(option, policy);
  return window === undefined || contextTokens === 0 ? 1 : Math.min(1, window / (ROOMY * contextTokens));
}
