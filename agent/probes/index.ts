import { createBatteryProbe } from "./battery.ts";
import { createCpuProbe } from "./cpu.ts";
import { createDiskProbe } from "./disk.ts";
import { createAmdProbe } from "./gpu/amd.ts";
import { createAppleProbe } from "./gpu/apple.ts";
import { createAscendProbe } from "./gpu/ascend.ts";
import { createCambriconProbe } from "./gpu/cambricon.ts";
import { createHygonProbe } from "./gpu/hygon.ts";
import { createIntelProbe } from "./gpu/intel.ts";
import { createKunlunxinProbe } from "./gpu/kunlunxin.ts";
import { createMetaxProbe } from "./gpu/metax.ts";
import { createMooreThreadsProbe } from "./gpu/moore-threads.ts";
import { createMemoryProbe } from "./memory.ts";
import { createNetworkProbe } from "./network.ts";
import { createNvidiaProbe } from "./nvidia/probe.ts";
import { createXidProbe } from "./nvidia/xid.ts";
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
  createXidProbe,
  createAmdProbe,
  createIntelProbe,
  createAppleProbe,
  createAscendProbe,
  createHygonProbe,
  createMooreThreadsProbe,
  createCambriconProbe,
  createMetaxProbe,
  createKunlunxinProbe,
];
