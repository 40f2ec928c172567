import { hash32 } from "./hash.ts";
import { jobsOn } from "./predict.ts";
import type { DecisionContext, Option } from "./types.ts";

/** A home with more than this times the mean load sends its sessions on (Mirrokni, Thorup, Zadimoghaddam 2018). */
const LOAD_BOUND = 1.25;

/**
 * The node on which a session's prefix is probably cached: rendezvous hashing over the layer's nodes, so that a node that
 * comes or goes moves only its own sessions, with bounded load: overloaded homes are passed over.
 */
export function sessionHome(sessionId: string, list: readonly Option[], context: DecisionContext): Option | undefined {
  let total = 0;
  for (const option of list) total += loadShare(option, context);
  // One more job must fit, or an idle fleet would bound every home at nothing.
  const bound = LOAD_BOUND * Math.max(total / Math.max(1, list.length), 1);
  let home: Option | undefined;
  let homeHash = -1;
  for (const option of list) {
    if (loadShare(option, context) > bound) continue;
    const hash = hash32(`${sessionId} ${option.view.record.node_id}`);
    if (hash > homeHash) [home, homeHash] = [option, hash];
  }
  return home;
}

/** Jobs per slot. */
function loadShare(option: Option, context: DecisionContext): number {
  return jobsOn(option, context) / Math.max(1, option.view.record.load?.slots ?? 1);
}
