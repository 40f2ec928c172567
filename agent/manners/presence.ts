/**
 * What a helper in a person's session has said of when they were there. Any user of the machine may speak to the agent, so it counts only
 * where it makes the agent take less: a person is seen who was not, and never the other way round.
 */
export class Presence {
  readonly #steadyMs: () => number;
  #seenAtMs = Number.NEGATIVE_INFINITY;

  /** @param steadyMs a clock that nobody can set */
  constructor(steadyMs: () => number) {
    this.#steadyMs = steadyMs;
  }

  /** Somebody touched the machine so long ago, seconds. */
  seen(idleSeconds: number): void {
    this.#seenAtMs = Math.max(this.#seenAtMs, this.#steadyMs() - idleSeconds * 1000);
  }

  /**
   * Seconds since somebody was seen, by the helper or by the probe.
   * @param probed what the probe says; null = it cannot tell, and then only a person who is there now counts
   * @param limitSeconds who was seen less long ago uses the machine
   */
  idleSeconds(probed: number | null, limitSeconds: number): number | null {
    const said = (this.#steadyMs() - this.#seenAtMs) / 1000;
    if (probed !== null) return Math.min(probed, said);
    return said < limitSeconds ? said : null;
  }
}
