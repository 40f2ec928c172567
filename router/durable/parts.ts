import type { AuditGate } from "../audit-gate.ts";
import type { RouterParts } from "../parts.ts";
import type { Verdicts } from "../verdicts.ts";
import type { JobStore } from "./job-store.ts";

/** What the durable part of a router is made of. */
export interface DurableParts extends RouterParts {
  store: JobStore;
  /** P0 and P1 pass it before each dispatch, as other jobs do. */
  gate: Pick<AuditGate, "pass">;
  verdicts: Pick<Verdicts, "hear">;
}
