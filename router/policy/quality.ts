import type { DecisionContext, Option } from "./types.ts";

/** Quality of a model whose size is unknown. */
const UNKNOWN = 0.5;
/** Parameter count in a name: `8b`, `1.5B`, `270m`, `8x7b`; not the 4 of `gpt-4`, nor the b of `bf16`. */
const PARAMETERS = /(?:^|[^a-z0-9.])(?:(\d{1,3})x)?(\d{1,5}(?:\.\d{1,3})?)(b|m)(?![a-z0-9])/i;

/** Quality of an option's model at the job's task type: what the table on the bus says (docs/policy.md), else the estimate. */
export function qualityOf(option: Option, { qualities }: Pick<DecisionContext, "qualities">): number {
  return qualities?.get(option.served.name) ?? option.quality;
}

/**
 * Estimate of a model's general quality, 0 to 1, from the parameter count in its name, logarithmically, because published
 * scores rise about evenly with each doubling: 1B 0.4, 8B 0.7, 64B and more 1, unknown 0.5. Crude, the same for every task
 * type, and only used where the caller leaves the model open and the table says nothing.
 */
export function quality(name: string): number {
  const match = PARAMETERS.exec(name);
  if (match === null) return UNKNOWN;
  const billions = (Number(match[1] ?? 1) * Number(match[2])) / (match[3]?.toLowerCase() === "m" ? 1000 : 1);
  return Math.min(1, Math.max(0.1, 0.4 + 0.1 * Math.log2(Math.max(billions, 0.01))));
}
