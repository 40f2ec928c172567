import { capabilitiesOf } from "../capabilities.ts";
import type { Scorer } from "../types.ts";

/** Quality of a model whose size is unknown. */
const UNKNOWN_QUALITY = 0.5;
/** Share of the model's quality; the rest is how well its abilities and window fit. */
const QUALITY_SHARE = 0.5;
/** A window this many times the need leaves room for the conversation to go on. */
const ROOMY = 2;

/**
 * SEED 模型能力与任务需求匹配度: half how well abilities and context fit, half the model's general quality. A model that the
 * caller named fits by definition. Quality is estimated from the parameter count in the name, logarithmically, because
 * published scores rise about evenly with each doubling: 1B 0.4, 8B 0.7, 70B and more about 1.
 */
export const capability: Scorer = {
  name: "capability",
  score(option, request, { policy }) {
    if (option.diagnostic) return 0;
    if (request.model !== undefined) return 1;
    const { served } = option;
    const has = capabilitiesOf(option, policy);
    const wanted = request.capabilities.length;
    const covered = wanted === 0 ? 1 : request.capabilities.filter((name) => has.includes(name)).length / wanted;
    const window = served.context_length;
    const room =
      window === null || request.contextTokens === 0 ? 1 : Math.min(1, window / (ROOMY * request.contextTokens));
    return (1 - QUALITY_SHARE) * covered * (0.5 + 0.5 * room) + QUALITY_SHARE * quality(served.name);
  },
};

/** 0 to 1, by the billions of parameters that the name tells. */
export function quality(name: string): number {
  const match = /(?:^|[^a-z0-9.])(\d+(?:\.\d+)?)\s?(b|m)(?:[^a-z]|$)/i.exec(name);
  if (match === null) return UNKNOWN_QUALITY;
  const billions = Number(match[1]) / (match[2]?.toLowerCase() === "m" ? 1000 : 1);
  return Math.min(1, Math.max(0.1, 0.4 + 0.1 * Math.log2(Math.max(billions, 0.01))));
}
