import type { Filter } from "../types.ts";

/** Nodes that take no new jobs on purpose (cordoned, draining, leaving), and those known to be gone. */
export const state: Filter = {
  name: "state",
  reject({ view }) {
    if (view.record.sleep !== null) return "is asleep";
    if (view.gone) return "is gone from the bus";
    const { status, status_reason: reason } = view.record;
    if (status === "healthy" || status === "degraded") return undefined;
    return reason === null ? `is ${status}` : `is ${status}: ${reason}`;
  },
};
