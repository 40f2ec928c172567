import type { Filter } from "../types.ts";

/** A node that missed so many heartbeats is lost (DESIGN §3). */
export const MISSED_HEARTBEATS = 3;
/** Heartbeats are jittered by a twentieth and the bus takes its time: so much more. */
const SLACK = 1.06;

/** Intervals outside this are not believed: a node that announces one heartbeat a month would never be lost. Milliseconds. */
const INTERVAL_MS = { least: 100, most: 20_000 };

/** Age of the last heartbeat at which a node is lost, milliseconds. */
export function leaseMs(intervalMs: number): number {
  return MISSED_HEARTBEATS * Math.min(Math.max(intervalMs, INTERVAL_MS.least), INTERVAL_MS.most) * SLACK;
}

export const lease: Filter = {
  name: "lease",
  reject({ view }, _request, { nowMs }) {
    if (view.excused) return undefined;
    const ageMs = nowMs - view.receivedAtMs;
    return ageMs > leaseMs(view.record.interval_ms) ? `was last heard ${(ageMs / 1000).toFixed(1)} s ago` : undefined;
  },
};
