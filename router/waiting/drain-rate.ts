/** Time constant of the average, milliseconds: long enough to see some jobs begin, short enough to follow the fleet. */
const TAU_MS = 10_000;
/** What a rate is measured over at least, milliseconds. */
const LEAST_SPAN_MS = 500;
/** Shortest and longest pause that a caller is told, milliseconds. */
const RETRY_MS = { least: 250, most: 60_000 };
/** The pause when nothing was seen to begin yet, milliseconds. */
const UNKNOWN_MS = 1000;
/** Each pause is longer by up to this share, so that callers who were sent away together do not come back together. */
const JITTER = 0.2;

/**
 * How fast the jobs of a queue begin, and from it when a caller who is sent away should come back. Whoever is sent away is
 * promised the place after those who were sent away before, so that with a longer line of them the pause grows instead of
 * all being told the same moment. Clock and chance are handed in.
 */
export class DrainRate {
  #firstMs: number | undefined;
  #atMs = 0;
  /** Jobs, each fading with {@link TAU_MS}. */
  #faded = 0;
  /** Callers who were told when to come back and whose time has not come, about. */
  #promised = 0;

  /** A job has begun: it was sent to its node. */
  began(nowMs: number): void {
    this.#firstMs ??= nowMs;
    this.#pass(nowMs);
    this.#faded++;
  }

  /** Jobs a second; undefined when none was seen. */
  perSecond(nowMs: number): number | undefined {
    this.#pass(nowMs);
    return this.#faded < 0.01 ? undefined : this.#rate(nowMs);
  }

  #rate(nowMs: number): number {
    const spanMs = Math.max(nowMs - (this.#firstMs ?? nowMs), LEAST_SPAN_MS);
    // The average has seen only a part of its time constant at first.
    return this.#faded / ((TAU_MS / 1000) * (1 - Math.exp(-spanMs / TAU_MS)));
  }

  /**
   * Promises a caller who is sent away a place in the future.
   * @param waiting jobs of the queue that still wait here
   * @param chance uniform in [0,1)
   * @returns the pause until then, milliseconds
   */
  promise(waiting: number, nowMs: number, chance: number): number {
    const rate = this.perSecond(nowMs);
    const pauseMs = rate === undefined ? UNKNOWN_MS : ((waiting + this.#promised + 1) / rate) * 1000;
    // Beyond the longest pause nobody is told more, so nothing more is promised either.
    if (pauseMs < RETRY_MS.most) this.#promised++;
    return Math.round(Math.min(Math.max(pauseMs, RETRY_MS.least) * (1 + JITTER * chance), RETRY_MS.most));
  }

  /** Time passes: the average fades, and promised places are taken. */
  #pass(nowMs: number): void {
    const passedMs = Math.max(0, nowMs - this.#atMs);
    const taken = (this.#rate(nowMs) * passedMs) / 1000;
    this.#promised = Math.max(0, this.#promised - taken);
    this.#faded *= Math.exp(-passedMs / TAU_MS);
    this.#atMs = nowMs;
  }
}
