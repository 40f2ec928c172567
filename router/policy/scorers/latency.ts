import { predict } from "../predict.ts";
import type { Scorer } from "../types.ts";

/** Shortest time that can be wanted, milliseconds: nothing answers faster. */
const LEAST_SLO_MS = 1;

/**
 * Share of the answer's writing time that counts in a chat, beside the whole time to its first token: of two nodes that
 * begin alike the one that writes faster is better. Measured (docs/simulation.md): a tenth takes 3 % off the p99 of the
 * end-to-end time and leaves that of the first token as it is; a quarter delays the median first token by a quarter.
 */
const WRITING_SHARE = 0.1;

/** `L = 1/(1+(T/SLO)²)` (DESIGN §3): 1 at once, 0.5 at the wanted time, near 0 beyond. */
export function latencyScore(ms: number, sloMs: number): number {
  const ratio = ms / Math.max(sloMs, LEAST_SLO_MS);
  return 1 / (1 + ratio * ratio);
}

export const latency: Scorer = {
  name: "latency",
  score(option, request, context) {
    const { ttftMs, totalMs } = predict(option, request, context);
    return latencyScore(ttftMs + (totalMs - ttftMs) * (request.batch ? 1 : WRITING_SHARE), request.sloMs);
  },
};
