import type { Filter } from "../types.ts";

/** A node that says itself that every slot and every waiting place is taken. In doubt the node decides (DESIGN promise 6). */
export const capacity: Filter = {
  name: "capacity",
  reject({ view }) {
    const load = view.record.load;
    if (load === null) return undefined;
    const taken = Math.max(load.running + load.queued, view.ownInFlight);
    return taken >= load.slots + load.queue_limit
      ? `is full: ${load.running} running, ${load.queued} waiting`
      : undefined;
  },
};
