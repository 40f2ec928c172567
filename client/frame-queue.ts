interface Held<T> {
  item: T;
  bytes: number;
}

/**
 * A queue with one reader that waits: `push` never blocks, `next` resolves with the oldest item or at its time limit.
 * A reader that falls `maxBytes` behind gets what is here, then `onFull()`'s item as the last one; what comes later is
 * dropped.
 */
export class FrameQueue<T> {
  readonly #maxBytes: number;
  readonly #onFull: () => T;
  readonly #items: Held<T>[] = [];
  #bytes = 0;
  #full = false;
  #waiting: ((item: T | undefined) => void) | undefined;

  constructor(maxBytes: number, onFull: () => T) {
    this.#maxBytes = maxBytes;
    this.#onFull = onFull;
  }

  /** @param bytes what the item keeps in memory, about. */
  push(item: T, bytes: number): void {
    if (this.#full) return;
    const waiting = this.#waiting;
    if (waiting !== undefined) {
      this.#waiting = undefined;
      return waiting(item);
    }
    this.#full = this.#bytes + bytes > this.#maxBytes;
    this.#bytes += bytes;
    this.#items.push(this.#full ? { item: this.#onFull(), bytes: 0 } : { item, bytes });
  }

  /** @returns undefined when nothing came within `limitMs` or `signal` aborted. */
  next(limitMs: number, signal?: AbortSignal): Promise<T | undefined> {
    const held = this.#items.shift();
    if (held !== undefined) {
      this.#bytes -= held.bytes;
      return Promise.resolve(held.item);
    }
    if (signal?.aborted || limitMs <= 0) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const finish = (value: T | undefined) => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        this.#waiting = undefined;
        resolve(value);
      };
      const onAbort = () => finish(undefined);
      const timer = setTimeout(onAbort, limitMs);
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#waiting = finish;
    });
  }
}
