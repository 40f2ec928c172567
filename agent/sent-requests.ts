import type { RuntimeState } from "./runtimes/runtime.ts";

/** Adds up what providers' runtimes count, over work threads that crash and begin to count anew. */
export class SentRequests {
  readonly #last = new Map<string, number>();
  #total = 0;

  get total(): number {
    return this.#total;
  }

  take(states: readonly RuntimeState[]): void {
    for (const { record, requestsSent: now } of states) {
      if (now === undefined) continue;
      const last = this.#last.get(record.name) ?? 0;
      this.#total += now < last ? now : now - last;
      this.#last.set(record.name, now);
    }
  }
}
