import type { DataClass, Layer } from "../../bus-schemas/index.ts";
import type { Arrival } from "./arrivals.ts";

/** A job on its way through the mesh. Absolute times, milliseconds. */
export interface SimJob {
  id: string;
  arrival: Arrival;
  arrivedAtMs: number;
  deadlineMs: number;
  dataClass: DataClass;
  /** Asked for by name. */
  wanted: string | undefined;
  /** Dispatches so far. */
  attempts: number;
  ending: JobEnding | undefined;
}

/** How a job ended for its caller. */
export interface JobEnding {
  status: "finished" | "expired" | "refused";
  nodeId: string | null;
  layer: Layer | null;
  model: string | null;
  /** From the caller's sending to the first token there; null when none came. */
  ttftMs: number | null;
  totalMs: number;
  cachedTokens: number;
  /** Error code of a refused job. */
  code: string | null;
}
