/** Uniform numbers in [0,1). */
export type Random = () => number;

/** Mulberry32 (Ettinger 2017): the same numbers for the same seed on every machine. */
export function seededRandom(seed: number): Random {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Time to the next event of a Poisson process. */
export function exponential(mean: number, random: Random): number {
  return -mean * Math.log(1 - random());
}

/** Log-normal with this median; `sigma` is the standard deviation of its logarithm. */
export function lognormal(median: number, sigma: number, random: Random): number {
  // Box and Muller 1958.
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return median * Math.exp(sigma * normal);
}
