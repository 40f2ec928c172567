/** A queue with one reader that waits: `push` never blocks, `next` resolves with the oldest item or at its time limit. */
export class FrameQueue<T> {
  readonly #items: T[] = [];
  #waiting: ((item: T | undefined) => void) | undefined;

  push(item: T): void {
    const waiting = this.#waiting;
    if (waiting === undefined) this.#items.push(item);
    else {
      this.#waiting = undefined;
      waiting(item);
    }
  }

  /** @returns undefined when nothing came within `limitMs` or `signal` aborted. */
  next(limitMs: number, signal?: AbortSignal): Promise<T | undefined> {
    const item = this.#items.shift();
    if (item !== undefined) return Promise.resolve(item);
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
