import type { Proc } from "./world.ts";

/** Something that happens at a time. */
export interface WorldEvent {
  atMs: number;
  /** Of two at one time the earlier made comes first. */
  seq: number;
  run: () => void;
  proc: Proc | undefined;
  kind: "timer" | "io";
  cancelled: boolean;
}

/** Events by time, the earliest first (a binary heap). */
export class EventHeap {
  readonly #events: WorldEvent[] = [];
  #count = 0;

  add(atMs: number, run: () => void, proc: Proc | undefined, kind: WorldEvent["kind"]): WorldEvent {
    const event: WorldEvent = { atMs, seq: this.#count++, run, proc, kind, cancelled: false };
    this.#push(event);
    return event;
  }

  /** Puts an event that was taken out in again, behind all others of that time. */
  again(event: WorldEvent, atMs: number): void {
    event.atMs = atMs;
    event.seq = this.#count++;
    this.#push(event);
  }

  /** Takes out the earliest event that is not cancelled, if it is due by `untilMs`. */
  next(untilMs: number): WorldEvent | undefined {
    for (;;) {
      const first = this.#events[0];
      if (first === undefined || (first.atMs > untilMs && !first.cancelled)) return undefined;
      this.#pop();
      if (!first.cancelled) return first;
    }
  }

  /** How many of a process's events are still to come. */
  count(proc: Proc): number {
    return this.#events.filter((event) => event.proc === proc && !event.cancelled).length;
  }

  #push(event: WorldEvent): void {
    const events = this.#events;
    let at = events.length;
    events.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(event, events[parent] as WorldEvent)) break;
      events[at] = events[parent] as WorldEvent;
      at = parent;
    }
    events[at] = event;
  }

  #pop(): void {
    const events = this.#events;
    const last = events.pop() as WorldEvent;
    const size = events.length;
    if (size === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && before(events[child + 1] as WorldEvent, events[child] as WorldEvent)) child++;
      if (!before(events[child] as WorldEvent, last)) break;
      events[at] = events[child] as WorldEvent;
      at = child;
    }
    events[at] = last;
  }
}

function before(a: WorldEvent, b: WorldEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.seq < b.seq);
}
