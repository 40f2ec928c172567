/** Time constant of the average, milliseconds (DESIGN §3). */
const TAU_MS = 10_000;
const CLAMP = { least: 0.5, most: 4 };
/** What a refusal or a failure counts as, milliseconds. */
const FAILURE_MS = 5000;
/**
 * Added to both times before they are compared, milliseconds: of 50 ms expected and 200 ms seen the ratio is mostly
 * chance, and would keep a sound node out for ten seconds (docs/simulation.md).
 */
const DAMPING_MS = 2000;
/** Prediction assumed where there is none, milliseconds. */
const ASSUMED_MS = 1000;

/**
 * Peak-EWMA (Finagle's load balancer): a worse observation counts at once, a better one wears it off over ten seconds.
 * @param correction factor so far
 * @param predictedMs what this factor was part of predicting; undefined where nothing was predicted
 * @param observedMs undefined = a failure
 * @param sinceMs time since the last observation
 * @returns the new factor of observed over predicted time, 0.5 to 4
 */
export function corrected(
  correction: number,
  predictedMs: number | undefined,
  observedMs: number | undefined,
  sinceMs: number,
): number {
  const bareMs = (predictedMs ?? ASSUMED_MS) / correction;
  const ratio = clamp((Math.max(observedMs ?? FAILURE_MS, 0) + DAMPING_MS) / (Math.max(bareMs, 0) + DAMPING_MS));
  if (ratio > correction) return ratio;
  const keep = Math.exp(-Math.max(sinceMs, 0) / TAU_MS);
  return clamp(correction * keep + ratio * (1 - keep));
}

function clamp(value: number): number {
  return Math.min(CLAMP.most, Math.max(CLAMP.least, value));
}
