import { MeshError } from "../../bus-schemas/index.ts";
import type { Arrival } from "./arrivals.ts";

/**
 * Arrivals by time. A trace whose clock is coarse (Mooncake's ticks every 3 s) has many at one moment; they are spread
 * evenly up to the next one, because no real load comes in such volleys.
 * @throws MeshError `bad_config` when there are none.
 */
export function inOrder(arrivals: readonly Arrival[], name: string): Arrival[] {
  if (arrivals.length === 0) throw new MeshError("bad_config", `${name}: holds no jobs`);
  const sorted = arrivals.toSorted((a, b) => a.atMs - b.atMs);
  const spread: Arrival[] = [];
  for (let start = 0; start < sorted.length;) {
    const atMs = sorted[start]?.atMs ?? 0;
    let end = start;
    while (sorted[end]?.atMs === atMs) end++;
    const gapMs = (sorted[end]?.atMs ?? atMs) - atMs;
    for (const [i, arrival] of sorted.slice(start, end).entries())
      spread.push({ ...arrival, atMs: atMs + (i * gapMs) / (end - start) });
    start = end;
  }
  return spread;
}
