/** One job of a load: when it comes and how long it is. */
export interface Arrival {
  /** From the start of the load, milliseconds. */
  atMs: number;
  promptTokens: number;
  /** Tokens of the answer, which no router knows beforehand. */
  outputTokens: number;
  /** Hashes of the prompt's blocks of `BLOCK_TOKENS`, each standing for itself and all before it; empty = unknown. */
  blocks: readonly number[];
  /** Jobs of one conversation; undefined = a job of its own. */
  sessionId: string | undefined;
}

/** Prompt tokens per block hash in the Mooncake trace. */
export const BLOCK_TOKENS = 512;

/** Means and spread that capacity is reckoned from. */
export interface LoadShape {
  meanPromptTokens: number;
  meanOutputTokens: number;
  /** Squared coefficient of variation of the prompt length. */
  promptVariation: number;
}

export function shapeOf(arrivals: readonly Arrival[]): LoadShape {
  const count = Math.max(arrivals.length, 1);
  let [prompt, output, squares] = [0, 0, 0];
  for (const { promptTokens, outputTokens } of arrivals) {
    prompt += promptTokens;
    output += outputTokens;
    squares += promptTokens * promptTokens;
  }
  const mean = prompt / count;
  return {
    meanPromptTokens: mean,
    meanOutputTokens: output / count,
    promptVariation: mean === 0 ? 0 : squares / count / (mean * mean) - 1,
  };
}

/**
 * The first `count` jobs at a mean rate: gaps are stretched all alike, so that bursts stay bursts. A load that is too
 * short is played again from its start, in new conversations.
 */
export function scaled(arrivals: readonly Arrival[], count: number, jobsPerSecond: number): Arrival[] {
  const first = arrivals[0];
  const last = arrivals.at(-1);
  if (first === undefined || last === undefined) return [];
  const gapMs = (last.atMs - first.atMs) / Math.max(arrivals.length - 1, 1);
  const roundMs = last.atMs - first.atMs + gapMs;
  const used = Math.min(count, arrivals.length);
  const usedMs = (arrivals[used - 1]?.atMs ?? 0) - first.atMs;
  const meanGapMs = count <= arrivals.length ? usedMs / Math.max(used - 1, 1) : gapMs;
  const factor = meanGapMs === 0 ? 0 : 1000 / jobsPerSecond / meanGapMs;
  return Array.from({ length: count }, (_, i) => {
    const arrival = arrivals[i % arrivals.length] ?? first;
    const round = Math.floor(i / arrivals.length);
    const atMs = meanGapMs === 0 ? (i * 1000) / jobsPerSecond : (arrival.atMs - first.atMs + round * roundMs) * factor;
    if (round === 0) return { ...arrival, atMs };
    return {
      ...arrival,
      atMs,
      blocks: arrival.blocks.map((block) => block + round * 1e9),
      sessionId: arrival.sessionId === undefined ? undefined : `${arrival.sessionId}/${round}`,
    };
  });
}
