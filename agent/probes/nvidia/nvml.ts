import { z } from "zod";
import type { Gpu } from "../../../bus-schemas/node-record.ts";
import { Celsius, Count, Gb, Joules, Label, Ratio, Watts } from "../../../bus-schemas/units.ts";
import { within } from "../../../service/within.ts";
import { MAX_FAULTS, type GpuFault } from "../gpu-fault.ts";
import { gbFromBytes, roundTo, validOrNull, type ProbeHost } from "../probe.ts";
import { pciAddress } from "../pci.ts";
import { answersWithin, MAX_PROCESSES, MAX_VRAM_GB, StepError, type NvidiaStep, type StepReading } from "./step.ts";
import { throttleReasons } from "./throttle.ts";

/** What NVML says of one device, in NVML's units; null = it does not say. */
export interface NvmlDevice {
  name: string | null;
  uuid: string | null;
  /** As `00000000:65:00.0`. */
  busId: string | null;
  /** `not_supported`: it has no memory of its own. */
  memory: { totalBytes: bigint; freeBytes: bigint } | "not_supported" | null;
  utilizationPercent: number | null;
  temperatureCelsius: number | null;
  powerMilliwatts: number | null;
  powerLimitMilliwatts: number | null;
  energyMillijoules: bigint | null;
  eventReasons: bigint | null;
  migEnabled: boolean | null;
  migDevices: { uuid: string | null; name: string | null; memoryMib: bigint | null }[];
  processes: { pid: number; usedBytes: bigint | null }[] | null;
}

/** An Xid error. */
export interface NvmlXid {
  uuid: string | null;
  xid: number;
}

/** NVIDIA's Management Library, initialised. Its calls can hang in the driver. */
export interface Nvml {
  driverVersion(): Promise<string | null>;
  /** @throws StepError */
  deviceCount(): Promise<number>;
  /** @throws StepError when the device cannot be reached: lost, or in need of a reset */
  device(index: number): Promise<NvmlDevice>;
  /** Of the devices that were asked, since the last time. */
  xids(): Promise<NvmlXid[]>;
  /** The driver may unload, and a laptop's GPU sleep. */
  shutdown(): Promise<void>;
}

/** More than a node record carries are not asked for. */
const MAX_DEVICES = 64;

/** NVML by `host.nvml()`, kept open between readings. */
export function nvmlStep({ timeoutMs }: { timeoutMs: number }): NvidiaStep {
  let nvml: Nvml | undefined;
  /** Faults have names that no other life of this process uses. */
  const life = Date.now().toString(36);
  let faultCount = 0;
  /** Of readings that failed: they are told with the next one that does not. */
  const untold: GpuFault[] = [];
  /** A reading that has not come back. */
  let pending: Promise<unknown> | undefined;

  const read = async (host: ProbeHost): Promise<StepReading> => {
    nvml ??= await host.nvml();
    const library = nvml;
    const driver = await library.driverVersion();
    const count = Math.min(await library.deviceCount(), MAX_DEVICES);
    const gpus: Gpu[] = [];
    const problems: string[] = [];
    for (let index = 0; index < count; index++) {
      try {
        const moment = { arch: host.arch, sampledAt: new Date(host.nowMs()).toISOString() };
        gpus.push({
          ...toGpu(await library.device(index), moment),
          index,
          driver_version: validOrNull(Version, driver),
        });
      } catch (error) {
        problems.push(`GPU ${index}: ${(error as Error).message}`);
      }
    }
    untold.push(...(await faultsOf(library, gpus)));
    if (gpus.length === 0 && problems.length > 0) throw new StepError("broken", problems.join("; "));
    return { gpus, problems, faults: untold.splice(0).slice(-MAX_FAULTS) };
  };

  const faultsOf = async (library: Nvml, gpus: readonly Gpu[]): Promise<GpuFault[]> => {
    const xids = await library.xids();
    return xids.map(({ uuid, xid }) => ({
      id: `nvml-${life}-${++faultCount}`,
      uuid: validOrNull(Text, uuid),
      pci_address: gpus.find((gpu) => gpu.uuid === uuid && uuid !== null)?.pci_address ?? null,
      xid: validOrNull(Count, xid) ?? 0,
    }));
  };

  const release = async () => {
    const library = nvml;
    if (library === undefined || pending !== undefined) return;
    nvml = undefined;
    await within(library.shutdown(), timeoutMs);
  };

  return {
    name: "NVML",
    release,
    async read(host, signal) {
      if (pending !== undefined)
        throw new StepError("hung", "an earlier call into NVML has not come back; nothing else is asked of the driver");
      const reading = read(host);
      pending = reading.then(
        () => (pending = undefined),
        () => (pending = undefined),
      );
      if (!(await answersWithin(pending, timeoutMs, signal)))
        throw new StepError("hung", `NVML did not answer within ${timeoutMs / 1000} s`);
      try {
        return await reading;
      } catch (error) {
        // The driver was updated or taken away: the next try begins anew.
        await release();
        throw error;
      }
    },
  };
}

const Version = z.string().min(1).max(60);
const Text = z.string().min(1).max(100);
const Vram = Gb.max(MAX_VRAM_GB);

function toGpu(device: NvmlDevice, { arch, sampledAt }: { arch: string; sampledAt: string }): Gpu {
  const { memory } = device;
  const known = memory === null || memory === "not_supported" ? null : memory;
  const total = known === null ? null : vramGb(known.totalBytes);
  const free = known === null ? null : vramGb(known.freeBytes);
  return {
    index: null,
    uuid: validOrNull(Text, device.uuid),
    vendor: "nvidia",
    name: validOrNull(Label, device.name) ?? "NVIDIA GPU",
    vram_total_gb: total === 0 ? null : total,
    vram_free_gb: free !== null && total !== null && free > total ? null : free,
    utilization: validOrNull(Ratio, scaled(device.utilizationPercent, 1 / 100)),
    temperature_celsius: validOrNull(Celsius, device.temperatureCelsius),
    power_watts: validOrNull(Watts, scaled(device.powerMilliwatts, 1 / 1000)),
    power_limit_watts: validOrNull(Watts, scaled(device.powerLimitMilliwatts, 1 / 1000)),
    driver_version: null,
    mig_mode: device.migEnabled,
    mig_instances: device.migDevices.map(({ uuid, name, memoryMib }) => ({
      uuid: validOrNull(Text, uuid),
      // NVML names the device "NVIDIA H200 MIG 1g.18gb".
      profile: validOrNull(Label, / MIG (\S+)$/.exec(name ?? "")?.[1]),
      vram_total_gb: memoryMib === null ? null : vramGb(memoryMib * 1024n * 1024n),
    })),
    throttled: device.eventReasons === null ? null : throttleReasons(device.eventReasons),
    pci_address: pciAddress(device.busId),
    // All parts without memory of their own (GB10, Jetson) are 64-bit Arm; elsewhere the driver just does not know.
    unified_memory: total !== null ? false : memory === "not_supported" && arch === "arm64" ? true : null,
    asleep: null,
    energy_joules: validOrNull(
      Joules,
      device.energyMillijoules === null ? null : Number(device.energyMillijoules) / 1000,
    ),
    processes:
      device.processes === null
        ? null
        : device.processes
            .slice(0, MAX_PROCESSES)
            .map(({ pid, usedBytes }) => ({ pid, vram_gb: usedBytes === null ? null : vramGb(usedBytes) })),
    sampled_at: sampledAt,
    sick: null,
  };
}

function vramGb(bytes: bigint): number | null {
  return validOrNull(Vram, gbFromBytes(Number(bytes)));
}

function scaled(value: number | null, scale: number): number | null {
  return value === null ? null : roundTo(value * scale, 3);
}
