import { MISSED_HEARTBEATS, leaseMs } from "./policy/filters/lease.ts";
import type { NodeView } from "./policy/types.ts";

/** When more of the nodes are late at once, it is not they who are to blame (DESIGN §3); one may always be. */
const MASS = 0.3;

/** Judges which nodes are silent for longer than they may be, and whether that are too many at once to be their fault. */
export class Silence {
  /** Of the last look: more nodes are late than can be to blame. */
  mass = false;
  /** When nodes were lost to silence lately. */
  #lostAtMs: number[] = [];

  /** @param present the nodes that are there */
  look(present: Iterable<NodeView>, nowMs: number): NodeView[] {
    const silent: NodeView[] = [];
    let [count, late, longestMs] = [0, 0, 0];
    for (const view of present) {
      const limitMs = leaseMs(view.record.interval_ms);
      const silentMs = nowMs - view.receivedAtMs;
      count++;
      // Heartbeats are spread over their interval: those that stopped together are not silent for equally long.
      if (silentMs > limitMs * (1 - 1 / MISSED_HEARTBEATS)) late++;
      if (silentMs > limitMs) silent.push(view);
      longestMs = Math.max(longestMs, limitMs);
    }
    this.#lostAtMs = this.#lostAtMs.filter((atMs) => nowMs - atMs <= longestMs);
    const lost = this.#lostAtMs.length;
    this.mass = late + lost > Math.max(1, MASS * (count + lost));
    return silent;
  }

  lost(nowMs: number): void {
    this.#lostAtMs.push(nowMs);
  }

  /** The wall clock was set. */
  shift(ms: number): void {
    this.#lostAtMs = this.#lostAtMs.map((atMs) => atMs + ms);
  }
}
