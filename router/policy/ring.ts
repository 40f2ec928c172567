import { hash32, mix32 } from "./hash.ts";

/** Points of each node on the ring; more are fairer and slower to sort. The load bound evens out the rest. */
const POINTS = 4;
/** Low bits of a packed point hold the node's number; 32 + 20 bits fit a double's 53. */
const NUMBERS = 2 ** 20;
const GOLDEN = 0x9e3779b9;

/**
 * Consistent hashing (Karger and others 1997): nodes are points on a ring, a key belongs to the next one clockwise. A node
 * that comes or goes moves only its own keys, and routers agree because only names count.
 */
export class Ring {
  readonly #points: Float64Array;

  /** @param nodeIds at most 2^20; a number returned by `from` is an index into it. */
  constructor(nodeIds: readonly string[]) {
    this.#points = new Float64Array(nodeIds.length * POINTS);
    nodeIds.forEach((nodeId, number) => {
      const hash = hash32(nodeId);
      for (let i = 0; i < POINTS; i++) {
        this.#points[number * POINTS + i] = mix32(hash + Math.imul(i, GOLDEN)) * NUMBERS + number;
      }
    });
    this.#points.sort();
  }

  /** Nodes clockwise from a key; one may come more than once. */
  *from(key: string): Iterable<number> {
    const count = this.#points.length;
    const start = this.#firstFrom(hash32(key) * NUMBERS);
    for (let i = 0; i < count; i++) yield (this.#points[(start + i) % count] ?? 0) % NUMBERS;
  }

  #firstFrom(point: number): number {
    let low = 0;
    let high = this.#points.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#points[middle] ?? 0) < point) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
