import type { Gpu } from "../../../bus-schemas/node-record.ts";
import { within } from "../../../service/within.ts";
import type { GpuFault } from "../gpu-fault.ts";
import { ProbeError, type ProbeHost } from "../probe.ts";

/** What one way of asking the NVIDIA driver saw. */
export interface StepReading {
  /** [] = the driver answered and there is no card. */
  gpus: Gpu[];
  /** Something is wrong although there are values. */
  problems: string[];
  /** Errors that the driver told since the last reading, where this way tells them. */
  faults?: GpuFault[];
}

/** One way of asking the NVIDIA driver; the probe tries them in order. */
export interface NvidiaStep {
  name: string;
  /** @throws StepError */
  read(host: ProbeHost, signal: AbortSignal): Promise<StepReading>;
  /** Lets go of what it keeps between readings, because another step reads from now on. It may be asked again later. */
  release(): Promise<void>;
}

/**
 * `absent`: there is no such library or program. `broken`: it answers with an error, or with what cannot be read. `hung`: it does
 * not answer; whatever else would ask the same driver would hang as well, so nothing else is asked.
 */
export type StepFailure = "absent" | "broken" | "hung";

/** A step has no answer. The message is for people. */
export class StepError extends ProbeError {
  readonly failure: StepFailure;

  constructor(failure: StepFailure, message: string) {
    super(message);
    this.failure = failure;
  }
}

/** Whether `promise` fulfils within `limitMs` milliseconds and before `signal` aborts. */
export async function answersWithin(promise: Promise<unknown>, limitMs: number, signal: AbortSignal): Promise<boolean> {
  const stopped = Promise.withResolvers<never>();
  const onAbort = () => stopped.reject(new StepError("hung", "stopped"));
  if (signal.aborted) return false;
  signal.addEventListener("abort", onAbort, { once: true });
  return within(Promise.race([promise, stopped.promise]), limitMs).finally(() =>
    signal.removeEventListener("abort", onAbort),
  );
}

/** More memory than this on one card is a broken reading, GB. The largest announced card has 0.6 TB. */
export const MAX_VRAM_GB = 16_384;
/** Most processes that a node record takes for one card. */
export const MAX_PROCESSES = 64;
