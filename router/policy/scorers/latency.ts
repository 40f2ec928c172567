import { predictedMs } from "../predict.ts";
import type { Scorer } from "../types.ts";

/** Shortest time that can be wanted, milliseconds: nothing answers faster. */
const LEAST_SLO_MS = 1;

/** `L = 1/(1+(T/SLO)²)` (DESIGN §3): 1 at once, 0.5 at the wanted time, near 0 beyond. */
export function latencyScore(ms: number, sloMs: number): number {
  const ratio = ms / Math.max(sloMs, LEAST_SLO_MS);
  return 1 / (1 + ratio * ratio);
}

export const latency: Scorer = {
  name: "latency",
  score: (option, request, context) => latencyScore(predictedMs(option, request, context), request.sloMs),
};
