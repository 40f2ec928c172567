import { Hardware } from "../../bus-schemas/node-record.ts";
import { MAX_FAULTS, type GpuFault } from "./gpu-fault.ts";
import type { HardwareValues, Probe, ProbeHost, Reading } from "./probe.ts";
import type { ProbeProblem } from "./protocol.ts";

/** The picture with nothing known yet. */
export function unknownHardware({ platform, arch }: Pick<ProbeHost, "platform" | "arch">): Hardware {
  return Hardware.parse({ platform, arch });
}

interface Kept {
  values: Partial<HardwareValues>;
  sampledAtMs: number;
}

/** After this many rounds without a new reading, what changes by the second is no longer known. */
const STALE_ROUNDS = 3;

/** Most GPUs that a node record carries, of all probes together. */
const MAX_GPUS = 64;

/** Puts the probes' last readings together into one record, and keeps what is wrong with which probe. */
export class HardwarePicture {
  readonly #host: Pick<ProbeHost, "platform" | "arch" | "nowMs">;
  readonly #probes: readonly Probe[];
  readonly #kept = new Map<Probe, Kept>();
  readonly #problems = new Map<Probe, ProbeProblem>();
  readonly #finished = new Set<Probe>();
  readonly #faults = new Map<string, GpuFault>();

  constructor(probes: readonly Probe[], host: Pick<ProbeHost, "platform" | "arch" | "nowMs">) {
    this.#probes = probes;
    this.#host = host;
  }

  /** Every probe has been run, well or not. */
  get complete(): boolean {
    return this.#finished.size === this.#probes.length;
  }

  succeeded(probe: Probe, reading: Reading): void {
    this.#finished.add(probe);
    this.#kept.set(probe, { values: reading.values, sampledAtMs: this.#host.nowMs() });
    for (const fault of reading.faults ?? []) this.#faults.set(fault.id, fault);
    for (const id of this.#faults.keys()) if (this.#faults.size > MAX_FAULTS) this.#faults.delete(id);
    if (reading.problem === undefined) this.#problems.delete(probe);
    else this.#note(probe, reading.problem);
  }

  /** The last reading stays, with the time when it was taken, until it is stale. */
  failed(probe: Probe, message: string): void {
    this.#finished.add(probe);
    this.#note(probe, message);
  }

  problems(): ProbeProblem[] {
    return [...this.#problems.values()];
  }

  /** The newest ones. */
  faults(): GpuFault[] {
    return [...this.#faults.values()];
  }

  current(): Hardware {
    const hardware = unknownHardware(this.#host);
    const nowMs = this.#host.nowMs();
    for (const probe of this.#probes) {
      const kept = this.#kept.get(probe);
      // A probe that looks for faults only has seen no part of the machine.
      if (kept === undefined || Object.keys(kept.values).length === 0) continue;
      const stale = nowMs - kept.sampledAtMs > STALE_ROUNDS * (probe.everyMs + probe.timeoutMs);
      const { gpus, ...values } = stale ? withoutMoving(kept.values) : kept.values;
      Object.assign(hardware, known(values));
      // Two chips of one card may share an address; what another probe has seen there is the same device.
      const others = hardware.gpus.flatMap(({ pci_address: address }) => address ?? []);
      const more = (gpus ?? []).filter(({ pci_address: address }) => address === null || !others.includes(address));
      hardware.gpus = [...hardware.gpus, ...more].slice(0, MAX_GPUS);
      hardware.sampled_at[probe.fills] = earlier(
        hardware.sampled_at[probe.fills],
        new Date(kept.sampledAtMs).toISOString(),
      );
    }
    return hardware;
  }

  #note(probe: Probe, message: string): void {
    const since = this.#problems.get(probe)?.since ?? new Date(this.#host.nowMs()).toISOString();
    this.#problems.set(probe, { probe: probe.name, message: message.slice(0, 300), since });
  }
}

const MOVING = [
  "cpu_utilization",
  "memory_free_gb",
  "temperature_celsius",
  "disk_free_gb",
  "power_watts",
  "thermal_pressure",
  "battery_level",
  "on_battery",
  "user_idle_seconds",
  "metered",
] as const satisfies readonly (keyof HardwareValues)[];

/** `values` with what changes by the second set to unknown; what the machine is made of stays. */
export function withoutMoving<T extends Partial<HardwareValues>>(values: T): T {
  const still = { ...values };
  for (const field of MOVING) {
    if (still[field] !== undefined) still[field] = null;
  }
  if (still.gpus !== undefined) {
    still.gpus = still.gpus.map((gpu) => ({
      ...gpu,
      vram_free_gb: null,
      utilization: null,
      temperature_celsius: null,
      power_watts: null,
      throttled: null,
      asleep: null,
      energy_joules: null,
      processes: null,
    }));
  }
  return still;
}

/** What one probe cannot tell hides nothing that another one has told. */
function known(values: Partial<HardwareValues>): Partial<HardwareValues> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null));
}

/** Two probes that fill one part: its time is that of the older reading. Both are UTC with the same number of digits. */
function earlier(one: string | null, other: string): string {
  return one !== null && one < other ? one : other;
}
