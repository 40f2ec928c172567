import type { Place, Pool } from "./pool.ts";
import { jobsOn, slotsOf } from "./predict.ts";
import type { DecisionContext } from "./types.ts";

/** A home with more than this times the mean load sends its sessions on (Mirrokni, Thorup, Zadimoghaddam 2018). */
const LOAD_BOUND = 1.25;
/** Points of the ring that are looked at before a session goes without a home. */
const MAX_STEPS = 32;

/**
 * The node on which a session's prefix is probably cached: consistent hashing with bounded loads. The first node clockwise
 * that is fit and not overloaded; a node with a free slot never is.
 */
export function sessionHome(
  sessionId: string,
  pool: Pool,
  fits: (place: Place) => boolean,
  context: Pick<DecisionContext, "liveRouters">,
): Place | undefined {
  const meanLoad = (pool.jobs + 1) / Math.max(pool.slots, 1);
  let steps = 0;
  for (const place of pool.preferredBy(sessionId)) {
    if (++steps > MAX_STEPS) return undefined;
    const slots = slotsOf(place.view);
    const bound = Math.max(slots, Math.ceil(LOAD_BOUND * meanLoad * slots));
    if (jobsOn(place.view, context) + 1 <= bound && fits(place)) return place;
  }
  return undefined;
}
