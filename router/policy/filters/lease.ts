import type { Filter } from "../types.ts";

/** A node that missed so many heartbeats is lost (DESIGN §3). */
export const MISSED_HEARTBEATS = 3;
/** Heartbeats are jittered and the bus takes its time: a tenth more. */
const SLACK = 1.1;

/** Age of the last heartbeat at which a node is lost, milliseconds. */
export function leaseMs(intervalMs: number): number {
  return MISSED_HEARTBEATS * Math.max(intervalMs, 100) * SLACK;
}

export const lease: Filter = {
  name: "lease",
  reject({ view }, _request, { nowMs }) {
    const ageMs = nowMs - view.receivedAtMs;
    return ageMs > leaseMs(view.record.interval_ms) ? `was last heard ${(ageMs / 1000).toFixed(1)} s ago` : undefined;
  },
};
