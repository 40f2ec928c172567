interface Event {
  atMs: number;
  order: number;
  run: () => void;
}

/** Virtual time: events run in the order of their time, those of one moment in the order in which they were planned. */
export class EventQueue {
  nowMs: number;
  /** A binary heap, the earliest first. */
  readonly #heap: Event[] = [];
  #order = 0;

  constructor(startMs: number) {
    this.nowMs = startMs;
  }

  /** Plans an event; one in the past runs now. */
  at(atMs: number, run: () => void): void {
    const event = { atMs: Math.max(atMs, this.nowMs), order: this.#order++, run };
    let index = this.#heap.push(event) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = this.#heap[parent];
      if (above === undefined || !before(event, above)) break;
      this.#heap[index] = above;
      index = parent;
    }
    this.#heap[index] = event;
  }

  after(delayMs: number, run: () => void): void {
    this.at(this.nowMs + delayMs, run);
  }

  /** Runs the next event. @returns false when there is none. */
  step(): boolean {
    const next = this.#heap[0];
    const last = this.#heap.pop();
    if (next === undefined || last === undefined) return false;
    if (next !== last) this.#sink(last);
    this.nowMs = next.atMs;
    next.run();
    return true;
  }

  #sink(event: Event): void {
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      const right = this.#heap[child + 1];
      let least = this.#heap[child];
      if (least === undefined) break;
      if (right !== undefined && before(right, least)) {
        least = right;
        child++;
      }
      if (!before(least, event)) break;
      this.#heap[index] = least;
      index = child;
    }
    this.#heap[index] = event;
  }
}

function before(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
