import type { EventData, EventType } from "../../bus-schemas/index.ts";

/** Something that the record must have and has not, as it is put on record. */
export type Gap = EventData<"audit_gap">;

/**
 * What is missing counts as missing when so much time has passed, milliseconds: endings come some seconds after a deadline, and an
 * event waits in its sender's spool while the bus is away.
 */
export const GRACE_MS = 60_000;

/** Events that name the node to which a job goes. */
export const DECIDING = ["job_decided", "job_redispatched", "job_hedged"] as const satisfies readonly EventType[];

/** What a gap has that is not about it. */
export const NO_GAP: Omit<Gap, "kind" | "severity" | "detail"> = {
  job_id: null,
  source: null,
  boot_id: null,
  node_id: null,
  counted: null,
  said: null,
  found: null,
};
