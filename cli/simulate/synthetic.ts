import type { Arrival } from "./arrivals.ts";
import { exponential, lognormal, type Random } from "./random.ts";

/**
 * Lengths like those of the Azure 2023 conversation trace: its prompts have a median near 1,020 tokens and a mean of 1,155,
 * its answers a median near 130 and a mean of 211. Tokens; sigma is that of the logarithm.
 */
const PROMPT = { median: 800, sigma: 0.85 };
const OUTPUT = { median: 130, sigma: 0.98 };

/** A Poisson load with log-normal lengths; its rate is one a second until it is scaled. */
export function syntheticLoad(count: number, random: Random): Arrival[] {
  let atMs = 0;
  return Array.from({ length: count }, () => ({
    atMs: (atMs += exponential(1000, random)),
    promptTokens: Math.max(1, Math.round(lognormal(PROMPT.median, PROMPT.sigma, random))),
    outputTokens: Math.max(1, Math.round(lognormal(OUTPUT.median, OUTPUT.sigma, random))),
    blocks: [],
    sessionId: undefined,
  }));
}
