import { z } from "zod";
import { Hardware } from "../../bus-schemas/node-record.ts";
import { IsoTime } from "../../bus-schemas/units.ts";
import { GpuFault, MAX_FAULTS } from "./gpu-fault.ts";
import type { HardwareValues } from "./probe.ts";

/** What the probes' process is started with: its last argument, as JSON. */
export interface ProbesConfig {
  stateDir: string;
  /** Where a single executable puts koffi's binary; default: `native` in the state folder. */
  nativeDir?: string;
  /** Looks once, tells what it found and how, and ends. */
  once?: boolean;
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
  /** What the drivers told since this process began, and of the kernel's log since the machine was started. */
  faults: z.array(GpuFault).max(MAX_FAULTS).default([]),
  complete: z.boolean(),
});
export type FromProbes = z.infer<typeof FromProbes>;

/** One value of the hardware picture, and how this machine knows it. */
export interface KnownValue {
  field: keyof HardwareValues;
  /** null = unknown; `how` then says where it was looked for. */
  value: HardwareValues[keyof HardwareValues];
  probe: string;
  how: string;
  sampled_at: string;
}

/** probes' process → whoever had it look once. */
export const FoundOnce = z.object({
  type: z.literal("once"),
  hardware: Hardware,
  values: z.array(
    z.custom<KnownValue>((value) => typeof value === "object" && value !== null && "how" in value && "field" in value),
  ),
  problems: z.array(ProbeProblem).max(100),
});
export type FoundOnce = z.infer<typeof FoundOnce>;
