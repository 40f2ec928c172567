import { reportedJobs } from "../predict.ts";
import type { Filter } from "../types.ts";

/**
 * A node that says itself that every slot and every waiting place is taken. What this router only guesses (its own
 * dispatches) is no reason: in doubt the node decides (DESIGN promise 6).
 */
export const capacity: Filter = {
  name: "capacity",
  momentary: true,
  reject({ view }) {
    const { load } = view.record;
    if (load === null || reportedJobs(view) < load.slots + load.queue_limit) return undefined;
    return `is full: ${load.running} running, ${load.queued} waiting, ${load.slots} slots`;
  },
};
