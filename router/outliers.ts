import type { Fleet } from "./policy/fleet.ts";
import type { NodeView } from "./policy/types.ts";

/** Jobs that fail in a row until a node is spared (DESIGN §3). */
const FAILURES = 5;
/** How long it is spared the first time, milliseconds; doubled each time up to the limit, forgotten after a good job. */
const SPARED_MS = { first: 5000, limit: 5 * 60_000 };
/** At most this share of the nodes is spared at once, but one where there are at least two. */
const MOST = 0.1;
/** A trial job of which nothing is heard does not keep the node out longer than this, milliseconds. */
const TRIAL_LIMIT_MS = 30_000;

interface Standing {
  /** In a row. */
  failures: number;
  /** In a row, without a good job in between. */
  ejections: number;
  state: "in" | "out" | "trial";
  /** Of `out` and of a trial under way. */
  untilMs: number;
}

/** An ejection that was just decided. */
export interface Ejection {
  failures: number;
  forMs: number;
}

/**
 * Spares nodes on which jobs fail in a row, whatever they say of themselves: for a time that doubles, never more than a tenth
 * of the fleet, and each comes back through one trial job. Nothing is known of a node until a job failed there.
 */
export class Outliers {
  readonly #fleet: Pick<Fleet, "view" | "size">;
  readonly #standings = new Map<string, Standing>();

  constructor(fleet: Pick<Fleet, "view" | "size">) {
    this.#fleet = fleet;
  }

  /**
   * A job failed on the node, or the node was silent when it was given one.
   * @param mayEject false: too much fails at once, or this router itself was late, so the node is not to blame
   * @param present nodes that are there
   */
  failed(nodeId: string, nowMs: number, mayEject: boolean, present: number): Ejection | undefined {
    const view = this.#fleet.view(nodeId);
    if (view === undefined) return undefined;
    const standing = this.#standings.get(nodeId) ?? { failures: 0, ejections: 0, state: "in", untilMs: 0 };
    this.#standings.set(nodeId, standing);
    standing.failures++;
    const due = standing.state === "trial" || (standing.state === "in" && standing.failures >= FAILURES);
    if (!due) return undefined;
    if (!mayEject || !this.#room(standing, present)) {
      standing.state = "in";
      view.ejected = undefined;
      return undefined;
    }
    const forMs = Math.min(SPARED_MS.first * 2 ** standing.ejections, SPARED_MS.limit);
    standing.ejections++;
    standing.state = "out";
    standing.untilMs = nowMs + forMs;
    view.ejected = `failed ${standing.failures} jobs in a row and is spared for ${forMs / 1000} s`;
    return { failures: standing.failures, forMs };
  }

  /** A job finished there. */
  succeeded(nodeId: string): void {
    const view = this.#fleet.view(nodeId);
    if (this.#standings.delete(nodeId) && view !== undefined) view.ejected = undefined;
  }

  /** A job goes there: after its time is over, it is the one trial. */
  dispatched(view: NodeView, nowMs: number): void {
    const standing = this.#standings.get(view.record.node_id);
    if (standing?.state !== "trial") return;
    standing.untilMs = nowMs + TRIAL_LIMIT_MS;
    view.ejected = "is being tried with one job after failures";
  }

  /** Nodes whose time is over may be tried; those that are no longer known are forgotten. */
  sweep(nowMs: number): void {
    for (const [nodeId, standing] of this.#standings) {
      const view = this.#fleet.view(nodeId);
      if (view === undefined) this.#standings.delete(nodeId);
      else if (standing.state !== "in" && nowMs >= standing.untilMs) {
        standing.state = "trial";
        standing.untilMs = Infinity;
        view.ejected = undefined;
      }
    }
  }

  /** A new start of a node has nothing to do with the old one's failures. */
  forget(nodeId: string): void {
    this.succeeded(nodeId);
  }

  /** The wall clock was set: times are on it. */
  shift(ms: number): void {
    for (const standing of this.#standings.values()) standing.untilMs += ms;
  }

  #room(standing: Standing, present: number): boolean {
    if (present < 2) return false;
    // Who comes from a trial was out already.
    if (standing.state === "trial") return true;
    let out = 0;
    for (const { state } of this.#standings.values()) if (state !== "in") out++;
    return out < Math.max(1, Math.floor(present * MOST));
  }
}
