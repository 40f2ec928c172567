import { z } from "zod";
import { Hardware } from "../../bus-schemas/node-record.ts";
import { IsoTime } from "../../bus-schemas/units.ts";

/** What the probes' process is started with: its last argument, as JSON. */
export interface ProbesConfig {
  stateDir: string;
}

/** agent → probes' process. */
export interface ToProbes {
  type: "stop";
}

/** A probe that does not work, for people. */
export const ProbeProblem = z.object({
  probe: z.string().max(100),
  message: z.string().max(1000),
  /** When it began. */
  since: IsoTime,
});
export type ProbeProblem = z.infer<typeof ProbeProblem>;

/**
 * probes' process → agent, about once a second, and now and then although nothing is new: a sign of life. `complete`: every probe
 * has been run once, well or not. Checked where it arrives: native libraries run in that process.
 */
export const FromProbes = z.object({
  type: z.literal("hardware"),
  hardware: Hardware,
  problems: z.array(ProbeProblem).max(100),
  complete: z.boolean(),
});
export type FromProbes = z.infer<typeof FromProbes>;
