import type { Proc, World } from "./world.ts";

/** One direction of a connection: what is sent arrives later, in its order (TCP), or is lost with the connection. */
export class Link<T> {
  readonly #world: World;
  /** Whose code the arrival runs; without one it is the broker's. */
  readonly #proc: Proc | undefined;
  readonly #arrive: (item: T) => void;
  readonly #latencyMs: () => number;
  /** What arrives within one grid of this size comes in one read of the socket, milliseconds; 0 = each by itself. */
  readonly #gridMs: number;
  #queue: { atMs: number; item: T }[] = [];
  #lastAtMs = 0;
  #stalledUntilMs = 0;
  #scheduledAtMs = -1;

  constructor(
    world: World,
    arrive: (item: T) => void,
    options: { latencyMs: () => number; gridMs: number; proc?: Proc },
  ) {
    this.#world = world;
    this.#arrive = arrive;
    this.#latencyMs = options.latencyMs;
    this.#gridMs = options.gridMs;
    this.#proc = options.proc;
  }

  send(item: T): void {
    let atMs = Math.max(this.#world.nowMs + this.#latencyMs(), this.#lastAtMs, this.#stalledUntilMs);
    if (this.#gridMs > 0) atMs = Math.ceil(atMs / this.#gridMs) * this.#gridMs;
    this.#lastAtMs = atMs;
    this.#queue.push({ atMs, item });
    if (this.#queue.length === 1) this.#schedule(atMs);
  }

  /** Nothing arrives before `untilMs`; nothing is lost. */
  stall(untilMs: number): void {
    this.#stalledUntilMs = Math.max(this.#stalledUntilMs, untilMs);
  }

  /** What is under way is lost. @returns how much that is */
  lose(): number {
    return this.#queue.splice(0).length;
  }

  #schedule(atMs: number): void {
    this.#scheduledAtMs = atMs;
    this.#world.at(atMs, () => this.#pump(atMs), this.#proc);
  }

  #pump(scheduledMs: number): void {
    if (scheduledMs !== this.#scheduledAtMs) return;
    this.#scheduledAtMs = -1;
    const { nowMs } = this.#world;
    if (nowMs >= this.#stalledUntilMs) {
      while ((this.#queue[0]?.atMs ?? Infinity) <= nowMs) {
        const { item } = this.#queue.shift() as { item: T };
        this.#arrive(item);
      }
    }
    const [next] = this.#queue;
    if (next !== undefined) this.#schedule(Math.max(next.atMs, this.#stalledUntilMs));
  }
}
