import { TICKET_LIFE_MS, type Ticket } from "../../bus-schemas/index.ts";

/**
 * A ticket is taken when its clock differs from ours by its life at most, so it may count as good for twice its life here;
 * it is remembered longer than that, milliseconds.
 */
const REMEMBER_MS = 2.5 * TICKET_LIFE_MS;

/** Which tickets were used: each is good once. */
export class UsedTickets {
  readonly #nowMs: () => number;
  /** Until when each is remembered, oldest first. */
  readonly #until = new Map<string, number>();

  /** @param nowMs monotonic */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  get size(): number {
    return this.#until.size;
  }

  /** @returns false when it was used before. */
  take({ router, id }: Pick<Ticket, "router" | "id">): boolean {
    const nowMs = this.#nowMs();
    for (const [key, untilMs] of this.#until) {
      if (untilMs > nowMs) break;
      this.#until.delete(key);
    }
    const key = `${router} ${id}`;
    if (this.#until.has(key)) return false;
    this.#until.set(key, nowMs + REMEMBER_MS);
    return true;
  }
}
