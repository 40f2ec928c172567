/**
 * Numbers 0 … n−1, each with a weight, of which one is drawn by weight in O(log n): a binary indexed tree (Fenwick 1994).
 * Weights are integers, so that sums stay exact however often they change.
 */
export class WeightedIndex {
  /** A power of two. */
  #capacity = 16;
  #weights = new Float64Array(16);
  /** `#sums[k]` is the sum of the `k & -k` weights that end with number k − 1. */
  #sums = new Float64Array(17);

  get total(): number {
    return this.#sums[this.#capacity] ?? 0;
  }

  weight(index: number): number {
    return this.#weights[index] ?? 0;
  }

  set(index: number, weight: number): void {
    if (index >= this.#capacity) this.#grow(index);
    const change = weight - this.weight(index);
    if (change === 0) return;
    this.#weights[index] = weight;
    this.#add(index, change);
  }

  /** @param share 0 ≤ share < 1. @returns the number at that share of the total weight; undefined when all weigh nothing. */
  at(share: number): number | undefined {
    let rest = share * this.total;
    if (!(rest < this.total)) return undefined;
    let index = 0;
    for (let step = this.#capacity >> 1; step > 0; step >>= 1) {
      const sum = this.#sums[index + step] ?? 0;
      if (sum <= rest) {
        index += step;
        rest -= sum;
      }
    }
    return index;
  }

  #add(index: number, change: number): void {
    for (let k = index + 1; k <= this.#capacity; k += k & -k) this.#sums[k] = (this.#sums[k] ?? 0) + change;
  }

  #grow(index: number): void {
    while (this.#capacity <= index) this.#capacity *= 2;
    const weights = new Float64Array(this.#capacity);
    weights.set(this.#weights);
    this.#weights = weights;
    this.#sums = new Float64Array(this.#capacity + 1);
    weights.forEach((weight, i) => weight !== 0 && this.#add(i, weight));
  }
}
