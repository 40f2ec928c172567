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

/**
 * A session's home counts as this much faster than predicted: what it has cached nobody knows, and turns that stay
 * together fill its cache. Measured on the Mooncake trace with 12 equal nodes (docs/simulation.md): median time to the
 * first token 11 % shorter than without a home, cached prompt tokens 12 % instead of 7 %, the p99 unchanged; with a factor
 * of 2 the p99 of unequal nodes grows by 8 %.
 */
const HOME_ADVANTAGE = 1.5;

/** `L = 1/(1+(T/SLO)²)` (DESIGN §3): 1 at once, 0.5 at the wanted time, near 0 beyond. */
export function latencyScore(ms: number, sloMs: number): number {
  const ratio = ms / Math.max(sloMs, LEAST_SLO_MS);
  return 1 / (1 + ratio * ratio);
}

export const latency: Scorer = {
  name: "latency",
  score(option, request, context) {
    const { ttftMs, totalMs } = predict(option, request, context);
    const ms = ttftMs + (totalMs - ttftMs) * (request.batch ? 1 : WRITING_SHARE);
    return latencyScore(option.view === context.home ? ms / HOME_ADVANTAGE : ms, request.sloMs);
  },
};
