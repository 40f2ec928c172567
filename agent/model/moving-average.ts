/** Exponentially weighted moving average; `weight` is the newest value's share. */
export function movingAverage(previous: number | null, value: number, weight = 0.2): number {
  return previous === null ? value : previous + weight * (value - previous);
}
