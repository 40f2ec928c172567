/** How a value moves over hours, with what chance leaves open. */
export interface Trend {
  perHour: number;
  /** With 95 % confidence the slope is not below the first and not above the second. */
  low: number;
  high: number;
}

/** Means of so many parts of the time are compared: neighbouring samples say nearly the same, and would claim too much certainty. */
const PARTS = 12;
/** Student's t for 95 % on both sides and 10 degrees of freedom. */
const T = 2.228;

/** Least squares over the means of twelve equal parts. @param samples [hours, value], in order; NaN for fewer than one a part */
export function trendOf(samples: readonly (readonly [number, number])[]): Trend {
  const size = Math.floor(samples.length / PARTS);
  const none = { perHour: Number.NaN, low: Number.NaN, high: Number.NaN };
  if (size === 0) return none;
  // The oldest are left out where the parts do not come out even.
  const kept = samples.slice(samples.length - size * PARTS);
  const means = Array.from({ length: PARTS }, (_, i) => {
    const part = kept.slice(i * size, (i + 1) * size);
    return [mean(part.map(([hours]) => hours)), mean(part.map(([, value]) => value))] as const;
  });
  const x = mean(means.map(([hours]) => hours));
  const y = mean(means.map(([, value]) => value));
  const spread = sum(means.map(([hours]) => (hours - x) ** 2));
  const perHour = sum(means.map(([hours, value]) => (hours - x) * (value - y))) / spread;
  const rest = sum(means.map(([hours, value]) => (value - y - perHour * (hours - x)) ** 2));
  const error = T * Math.sqrt(rest / (PARTS - 2) / spread);
  return { perHour, low: perHour - error, high: perHour + error };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function mean(values: readonly number[]): number {
  return sum(values) / values.length;
}
