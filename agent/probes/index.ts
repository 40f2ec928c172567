import { createBatteryProbe } from "./battery.ts";
import { createCpuProbe } from "./cpu.ts";
import { createDiskProbe } from "./disk.ts";
import { createMemoryProbe } from "./memory.ts";
import { createNetworkProbe } from "./network.ts";
import { createNvidiaProbe } from "./nvidia.ts";
import { createPowerProbe } from "./power.ts";
import type { Probe } from "./probe.ts";
import { createTemperatureProbe } from "./temperature.ts";
import { createUserProbe } from "./user.ts";

/** Every probe. A new one is a file and a line here; several may fill `gpus`. */
export const PROBES: readonly (() => Probe)[] = [
  createCpuProbe,
  createMemoryProbe,
  createTemperatureProbe,
  createDiskProbe,
  createPowerProbe,
  createBatteryProbe,
  createUserProbe,
  createNetworkProbe,
  createNvidiaProbe,
];
