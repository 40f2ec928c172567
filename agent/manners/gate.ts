/** What a look at one condition says: stop, go on, or neither (it is in between, or not known). */
export type Sight = "closed" | "open" | "unclear";

/** One condition with a memory, so that a value at the edge does not switch it to and fro. */
export interface Gate {
  closed: boolean;
  /** Since when the looks say the opposite, monotonic milliseconds; null = they do not. */
  againstSinceMs: number | null;
}

export interface Hold {
  /** It closes when it was to be closed for so long, milliseconds. */
  closeMs: number;
  /** It opens when it was to be open for so long, milliseconds. */
  openMs: number;
}

/** The gate after one more look. The first look decides at once; what is unclear changes nothing. */
export function turn(gate: Gate | undefined, sight: Sight, hold: Hold, nowMs: number): Gate {
  if (gate === undefined) return { closed: sight === "closed", againstSinceMs: null };
  if (sight !== (gate.closed ? "open" : "closed")) return { closed: gate.closed, againstSinceMs: null };
  const sinceMs = gate.againstSinceMs ?? nowMs;
  if (nowMs - sinceMs < (gate.closed ? hold.openMs : hold.closeMs))
    return { closed: gate.closed, againstSinceMs: sinceMs };
  return { closed: !gate.closed, againstSinceMs: null };
}
