import type { Filter } from "../types.ts";

/** The node's own word on whether it takes jobs, and its runtime's. */
export const health: Filter = {
  name: "health",
  reject({ view, served }) {
    const { status, status_reason: reason, runtimes } = view.record;
    if (status !== "healthy") return reason === null ? `is ${status}` : `is ${status}: ${reason}`;
    if (view.gone) return "is gone from the bus";
    const sick = runtimes.find((runtime) => runtime.name === served.runtime && !runtime.healthy);
    return sick === undefined ? undefined : `its runtime ${sick.name} does not answer`;
  },
};
