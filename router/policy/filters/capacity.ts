import { reportedJobs } from "../predict.ts";
import type { Filter } from "../types.ts";

/**
 * A node whose every slot and waiting place is taken: by its own word, and by what this router sent there since. The latter
 * is a guess for as long as the node's word takes, about a millisecond; without it one place that came free would be filled
 * with every job that waits for one (ADR 0018). Where nothing waits the node decides (DESIGN promise 6).
 */
export const capacity: Filter = {
  name: "capacity",
  momentary: true,
  reject({ view }) {
    const { load } = view.record;
    const { dispatchedSinceHeartbeat: sent } = view;
    if (load === null || reportedJobs(view) + sent < load.slots + load.queue_limit) return undefined;
    const since = sent === 0 ? "" : `, ${sent} sent there since`;
    return `is full: ${load.running} running, ${load.queued} waiting, ${load.slots} slots${since}`;
  },
};
