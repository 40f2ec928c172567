import type { Hardware } from "../../bus-schemas/node-record.ts";
import type { ProbeProblem } from "./hardware.ts";

/** What the probes' thread is started with. */
export interface ProbesConfig {
  stateDir: string;
}

/** agent → probes' thread. */
export interface ToProbes {
  type: "stop";
}

/** probes' thread → agent, about once a second. `complete`: every probe has been run once, well or not. */
export interface FromProbes {
  type: "hardware";
  hardware: Hardware;
  problems: ProbeProblem[];
  complete: boolean;
}
