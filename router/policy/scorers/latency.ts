import { predictedMs } from "../predict.ts";
import type { Scorer } from "../types.ts";

/** `L = 1/(1+(T/SLO)²)` (DESIGN §3): 1 at once, 0.5 at the wanted time, near 0 beyond. */
export function latencyScore(ms: number, sloMs: number): number {
  const ratio = ms / sloMs;
  return 1 / (1 + ratio * ratio);
}

export const latency: Scorer = {
  name: "latency",
  score: (option, request, context) => latencyScore(predictedMs(option, request, context), request.sloMs),
};
