/** Seeded chance (sfc32): the same seed and name give the same numbers on every machine. */
export class Chance {
  readonly #seed: string;
  readonly #state: Uint32Array;

  constructor(seed: string) {
    this.#seed = seed;
    this.#state = stateOf(seed);
    for (let i = 0; i < 12; i++) this.next();
  }

  /** A stream of its own: what one part of the simulation draws does not shift what another does. */
  fork(name: string): Chance {
    return new Chance(`${this.#seed}/${name}`);
  }

  /** Uniform in [0,1). */
  readonly next = (): number => {
    const s = this.#state as unknown as [number, number, number, number];
    const sum = (s[0] + s[1] + s[3]) >>> 0;
    s[3]++;
    s[0] = s[1] ^ (s[1] >>> 9);
    s[1] = s[2] + (s[2] << 3);
    s[2] = ((s[2] << 21) | (s[2] >>> 11)) + sum;
    return sum / 2 ** 32;
  };

  yes(probability: number): boolean {
    return this.next() < probability;
  }

  between(least: number, most: number): number {
    return least + (most - least) * this.next();
  }

  /** Many small values and a few large ones: uniform in the logarithm. */
  skewed(least: number, most: number): number {
    return least * (most / least) ** this.next();
  }

  /** A whole number from `least` to `most`, both included. */
  whole(least: number, most: number): number {
    return Math.floor(this.between(least, most + 1));
  }

  pick<T>(from: readonly T[]): T {
    if (from.length === 0) throw new RangeError("nothing to pick from");
    return from[Math.floor(this.next() * from.length)] as T;
  }
}

/** Four words of state from a text (FNV-1a, each word with an offset of its own). */
function stateOf(seed: string): Uint32Array {
  return Uint32Array.from([0, 1, 2, 3], (word) => {
    let hash = (2166136261 ^ (word * 0x9e3779b9)) >>> 0;
    for (const char of seed) hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 16777619) >>> 0;
    return hash;
  });
}
