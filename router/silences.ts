import { MISSED_HEARTBEATS, leaseMs } from "./policy/filters/lease.ts";
import type { NodeView } from "./policy/types.ts";

/** When more of the nodes are late at once, it is not they who are to blame (DESIGN §3); one may always be. */
const MASS = 0.3;

/** Finds the nodes that are silent for too long, and the times at which so many are that none of them is to blame. */
export class Silences {
  /** When nodes were lost to silence lately. */
  #lostAtMs: number[] = [];
  #mass = false;

  /** Of the last look: more nodes are late than can be to blame. */
  get mass(): boolean {
    return this.#mass;
  }

  /** Those of the nodes that are silent for longer than they may be. */
  look(views: readonly NodeView[], nowMs: number): NodeView[] {
    const silent: NodeView[] = [];
    let late = 0;
    let longestMs = 0;
    for (const view of views) {
      const limitMs = leaseMs(view.record.interval_ms);
      const silentMs = nowMs - view.receivedAtMs;
      // Heartbeats are spread over their interval: those that stopped together are not silent for equally long.
      if (silentMs > limitMs * (1 - 1 / MISSED_HEARTBEATS)) late++;
      if (silentMs > limitMs) silent.push(view);
      longestMs = Math.max(longestMs, limitMs);
    }
    this.#lostAtMs = this.#lostAtMs.filter((atMs) => nowMs - atMs <= longestMs);
    const lost = this.#lostAtMs.length;
    this.#mass = late + lost > Math.max(1, MASS * (views.length + lost));
    return silent;
  }

  /** One of them was lost for it. */
  lost(nowMs: number): void {
    this.#lostAtMs.push(nowMs);
  }

  /** The wall clock was set: times are on it. */
  shift(ms: number): void {
    this.#lostAtMs = this.#lostAtMs.map((atMs) => atMs + ms);
  }
}
