import type { Gpu, Hardware } from "../../bus-schemas/node-record.ts";

/** What the probes tell of the machine's power. */
export type PowerReading = Pick<Hardware, "gpus" | "power_watts">;

/** 3,600 joules are a watt-hour. */
const JOULES_PER_WH = 3600;
/** A watt-hour with so many decimals: 3.6 millijoules. */
const DECIMALS = 1e6;

/** A job that runs. */
interface RunningJob {
  /** Of the intervals that are over; null = the power was not known in one of them. */
  joules: number | null;
  /** Its part of the time since the last reading, milliseconds: half of it while two jobs ran. */
  shareMs: number;
}

/** A counter of energy as it was last read. */
interface Counter {
  joules: number;
  atMs: number;
  /** Mean between its last two readings; null until there were two. */
  watts: number | null;
}

/**
 * The electricity of each job: the machine's power over the time that the job runs, shared equally among the jobs that run at once.
 * What the machine would use without any job is not taken off, for nobody knows it. A job whose power was unknown for any part of its
 * time has no number, rather than one that is too small.
 */
export class EnergyMeter {
  readonly #nowMs: () => number;
  readonly #running = new Set<RunningJob>();
  readonly #counters = new Map<string, Counter>();
  /** The jobs' shares are counted up to here. */
  #countedMs: number;
  /** By the last reading. */
  #watts: number | null = null;

  /** @param nowMs a clock that only runs forward */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#countedMs = nowMs();
  }

  /** The probes have looked again: what they found is taken for the whole time since they looked before. */
  sample(reading: PowerReading): void {
    this.#count();
    this.#watts = this.#power(reading);
    for (const job of this.#running) {
      job.joules = added(job, this.#watts);
      job.shareMs = 0;
    }
  }

  /** A job starts to run. @returns its end: the watt-hours that it took, null when they are not known */
  begin(): () => number | null {
    this.#count();
    const job: RunningJob = { joules: 0, shareMs: 0 };
    this.#running.add(job);
    return () => {
      this.#count();
      this.#running.delete(job);
      const joules = added(job, this.#watts);
      return joules === null ? null : Math.round((joules / JOULES_PER_WH) * DECIMALS) / DECIMALS;
    };
  }

  #count(): void {
    const nowMs = this.#nowMs();
    const share = (nowMs - this.#countedMs) / this.#running.size;
    for (const job of this.#running) job.shareMs += share;
    this.#countedMs = nowMs;
  }

  /** Watts; null when nothing is known, or a GPU's part is missing from the sum. */
  #power({ gpus, power_watts: machine }: PowerReading): number | null {
    let sum = machine;
    for (const gpu of gpus) {
      // A suspended card takes next to nothing; one that shares the processor's memory is counted with the processor.
      if (gpu.asleep === true) continue;
      const watts = this.#gpuPower(gpu);
      if (watts !== null) sum = (sum ?? 0) + watts;
      else if (gpu.unified_memory !== true || machine === null) return null;
    }
    return sum;
  }

  /** A counter misses no peak between two readings; without one it is the power at the moment. */
  #gpuPower(gpu: Gpu): number | null {
    const key = gpu.uuid ?? gpu.pci_address;
    const { energy_joules: joules, power_watts: watts, sampled_at: sampledAt } = gpu;
    if (key === null || joules === null || sampledAt === null) return watts;
    const atMs = Date.parse(sampledAt);
    const before = this.#counters.get(key);
    // The same reading again: other probes have looked meanwhile.
    if (before?.atMs === atMs) return before.watts ?? watts;
    // A counter starts again with its driver, and a clock may be set back.
    const forward = before !== undefined && atMs > before.atMs && joules >= before.joules;
    const mean = forward ? ((joules - before.joules) * 1000) / (atMs - before.atMs) : null;
    this.#counters.set(key, { joules, atMs, watts: mean });
    return mean ?? watts;
  }
}

function added({ joules, shareMs }: RunningJob, watts: number | null): number | null {
  if (shareMs === 0) return joules;
  return joules === null || watts === null ? null : joules + (watts * shareMs) / 1000;
}
