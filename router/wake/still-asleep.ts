import { MeshError } from "../../bus-schemas/index.ts";
import type { WakeHelp } from "./wakes.ts";

/** Nobody comes back sooner for a machine that wakes up, milliseconds. */
const LEAST_RETRY_MS = 1000;

/** Why a job does not wait for a machine that could take it: it is being woken, for whoever comes back by then. */
export function stillAsleep({ nodeId, readyMs }: Pick<WakeHelp, "nodeId" | "readyMs">): MeshError {
  const when = `ready in about ${Math.ceil(readyMs / 1000)} s`;
  const message = `nobody who is awake can take it now; ${nodeId} could, sleeps and is being woken, ${when}`;
  return new MeshError("no_node", message, { retryAfterMs: Math.max(LEAST_RETRY_MS, Math.round(readyMs)) });
}
