import type { Arrival } from "./arrivals.ts";

/** How long the answers of a load are as a distribution: what an observer may expect who cannot see a single one beforehand. */
export class AnswerLengths {
  readonly #ascending: Float64Array;
  /** `#sums[i]` is the sum of the lengths from place i on. */
  readonly #sums: Float64Array;

  constructor(arrivals: readonly Pick<Arrival, "outputTokens">[]) {
    this.#ascending = Float64Array.from(arrivals, ({ outputTokens }) => outputTokens).sort();
    this.#sums = new Float64Array(this.#ascending.length + 1);
    for (let i = this.#ascending.length - 1; i >= 0; i--)
      this.#sums[i] = (this.#sums[i + 1] ?? 0) + (this.#ascending[i] ?? 0);
  }

  /** Tokens still expected of an answer that is longer than `written`: its mean residual life; 0 past the longest. */
  moreAfter(written: number): number {
    let [low, high] = [0, this.#ascending.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#ascending[middle] ?? 0) > written) high = middle;
      else low = middle + 1;
    }
    const longer = this.#ascending.length - low;
    return longer === 0 ? 0 : (this.#sums[low] ?? 0) / longer - written;
  }
}
