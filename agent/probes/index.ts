import { createCpuProbe } from "./cpu.ts";
import { createDiskProbe } from "./disk.ts";
import { createMemoryProbe } from "./memory.ts";
import { createNvidiaProbe } from "./nvidia/probe.ts";
import type { Probe } from "./probe.ts";
import { createTemperatureProbe } from "./temperature.ts";

/** Every probe. A new one is a file and a line here; several may fill `gpus`. */
export const PROBES: readonly (() => Probe)[] = [
  createCpuProbe,
  createMemoryProbe,
  createTemperatureProbe,
  createDiskProbe,
  createNvidiaProbe,
];
