/** Least-recently-used cache of prompt blocks, as an engine's prefix cache keeps them (vLLM, SGLang, llama.cpp slots). */
export class PrefixCache {
  readonly #capacity: number;
  /** In the order of their last use. */
  readonly #blocks = new Set<number>();

  /** @param capacity blocks; 0 = no cache. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#blocks.size;
  }

  /** How many blocks from the start are here. */
  hits(blocks: readonly number[]): number {
    const miss = blocks.findIndex((block) => !this.#blocks.has(block));
    return miss < 0 ? blocks.length : miss;
  }

  /** Puts a prompt's blocks in; the last ones go first when room is needed, since they need the first. */
  use(blocks: readonly number[]): void {
    if (this.#capacity === 0) return;
    for (let i = Math.min(blocks.length, this.#capacity) - 1; i >= 0; i--) {
      const block = blocks[i] ?? 0;
      this.#blocks.delete(block);
      this.#blocks.add(block);
    }
    for (const oldest of this.#blocks) {
      if (this.#blocks.size <= this.#capacity) return;
      this.#blocks.delete(oldest);
    }
  }
}
