import type { Filter } from "../types.ts";

/** The node's own word on whether its work path is sound, and its runtime's. */
export const health: Filter = {
  name: "health",
  reject({ view, served }) {
    const { status, status_reason: reason, runtimes } = view.record;
    if (status === "degraded") return reason === null ? "is degraded" : `is degraded: ${reason}`;
    for (const { healthy, name, status_reason: why } of runtimes) {
      if (name === served.runtime && !healthy) return `its runtime ${name} ${why ?? "does not answer"}`;
    }
    return undefined;
  },
};
