/** Pauses before something that ended is started again, milliseconds: doubling from the first to the limit. */
export interface BackOffTimes {
  first: number;
  limit: number;
  /** What ran for so long was in order: the next pause is the first one again. */
  goodRun: number;
}

/** How long to wait before the next start. */
export class BackOff {
  readonly #times: BackOffTimes;
  #nextMs: number;
  #failures = 0;

  constructor(times: BackOffTimes) {
    this.#times = times;
    this.#nextMs = times.first;
  }

  /** Ends in a row without a good run between them. */
  get failures(): number {
    return this.#failures;
  }

  /** It ended after a run of `ranMs`. @returns the pause before it is started again, milliseconds */
  ended(ranMs: number): number {
    if (ranMs > this.#times.goodRun) this.reset();
    const waitMs = this.#nextMs;
    this.#failures++;
    this.#nextMs = Math.min(waitMs * 2, this.#times.limit);
    return waitMs;
  }

  reset(): void {
    this.#failures = 0;
    this.#nextMs = this.#times.first;
  }
}
