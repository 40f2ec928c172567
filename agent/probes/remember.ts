/** Keeps what was found for a while: names and addresses, or that a program is not there, need no look every few seconds. */
export class Remembered<T> {
  readonly #keepMs: number;
  #found: { atMs: number; value: Promise<T> } | undefined;

  /** @param keepMs how long a finding counts, milliseconds. One that failed is not kept. */
  constructor(keepMs: number) {
    this.#keepMs = keepMs;
  }

  get(nowMs: number, find: () => Promise<T>): Promise<T> {
    const ageMs = this.#found === undefined ? Number.NaN : nowMs - this.#found.atMs;
    if (this.#found !== undefined && ageMs >= 0 && ageMs < this.#keepMs) return this.#found.value;
    const value = find();
    this.#found = { atMs: nowMs, value };
    value.catch(() => (this.#found = undefined));
    return value;
  }
}

/** What a machine is made of does not change under it. Milliseconds. */
export const INVENTORY_MS = 3_600_000;
/** A program that is not there may be installed. Milliseconds. */
export const SEARCH_AGAIN_MS = 60_000;
