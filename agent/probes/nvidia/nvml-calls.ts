import type { XidEvents } from "./nvml-events.ts";
import type { NvmlDevice, NvmlXid } from "./nvml.ts";
import { StepError } from "./step.ts";

/**
 * How NVML is asked, by the documented functions and structures of NVIDIA's nvml.h (docs.nvidia.com/deploy/nvml-api). Structures are
 * buffers here, read at the offsets that the header's fields have on every 64-bit system. A device's handle is a pointer.
 */

/** Calls a function of the library. @returns nvmlReturn_t; `FUNCTION_NOT_FOUND` when this library has no such function */
export type NativeCall = (name: string, ...args: (bigint | number | Uint8Array)[]) => Promise<number>;

/** nvmlReturn_t. */
const SUCCESS = 0;
const NOT_SUPPORTED = 3;
const INSUFFICIENT_SIZE = 7;
export const FUNCTION_NOT_FOUND = 13;

/** What people can do something about; the numbers are nvmlReturn_t. */
const WORDS: Readonly<Record<number, string>> = {
  1: "it is not initialised",
  4: "this user may not",
  9: "the driver is not loaded",
  10: "the driver timed out",
  12: "libnvidia-ml was not found",
  13: "the library is too old",
  15: "the GPU has fallen off the bus",
  16: "the GPU requires a reset",
  17: "the operating system blocks the GPU",
  18: "driver and library have different versions (restart after an update)",
  999: "unknown error",
};

/** @throws StepError unless `code` is success */
export function check(code: number, call: string): void {
  if (code !== SUCCESS) throw new StepError("broken", `${call}: ${WORDS[code] ?? `error ${code}`}`);
}

/** NVML_DEVICE_NAME_V2_BUFFER_SIZE, NVML_DEVICE_UUID_V2_BUFFER_SIZE; NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE is 80. */
const TEXT_BYTES = 96;
/** sizeof(nvmlPciInfo_t): char busIdLegacy[16]; unsigned domain, bus, device, pciDeviceId, pciSubSystemId; char busId[32]. */
const PCI_BYTES = 68;
const PCI_BUS_ID_OFFSET = 36;
/** sizeof(nvmlMemory_v2_t): unsigned version; unsigned long long total, reserved, free, used. */
const MEMORY_V2_BYTES = 40;
/** NVML_STRUCT_VERSION(Memory, 2): the size with the version in its top byte. */
const MEMORY_V2_VERSION = MEMORY_V2_BYTES | (2 << 24);
/** sizeof(nvmlMemory_t): unsigned long long total, free, used. Its `used` has the driver's reserved memory in it. */
const MEMORY_V1_BYTES = 24;
/** sizeof(nvmlDeviceAttributes_t): eight unsigned; unsigned long long memorySizeMB. */
const ATTRIBUTES_BYTES = 40;
const ATTRIBUTES_MEMORY_OFFSET = 32;
/** sizeof(nvmlProcessInfo_t): unsigned pid; unsigned long long usedGpuMemory; unsigned gpuInstanceId, computeInstanceId. */
const PROCESS_BYTES = 24;
/** NVML_VALUE_NOT_AVAILABLE of an unsigned long long: Windows does not tell. */
const NOT_AVAILABLE = 2n ** 64n - 1n;
/** NVML_TEMPERATURE_GPU of nvmlTemperatureSensors_t. */
const TEMPERATURE_GPU = 0;
/** Room for so many processes at first; NVML says how many there are. */
const FEW_PROCESSES = 64;

export async function readDriverVersion(call: NativeCall): Promise<string | null> {
  return readText(call, "nvmlSystemGetDriverVersion");
}

export async function readDeviceCount(call: NativeCall): Promise<number> {
  const count = Buffer.alloc(4);
  check(await call("nvmlDeviceGetCount_v2", count), "the number of GPUs");
  return count.readUInt32LE();
}

/** @throws StepError when there is no handle for it */
export async function readDevice(call: NativeCall, index: number, events: XidEvents): Promise<NvmlDevice> {
  const handle = Buffer.alloc(8);
  check(await call("nvmlDeviceGetHandleByIndex_v2", index, handle), "its handle");
  const device = handle.readBigUInt64LE();
  await events.register(device);
  const uint = (name: string, ...args: number[]) => readUint(call, name, device, ...args);
  const [limit, energy] = [
    await uint("nvmlDeviceGetEnforcedPowerLimit"),
    await readUlong(call, "nvmlDeviceGetTotalEnergyConsumption", device),
  ];
  const migEnabled = await readMigMode(call, device);
  return {
    name: await readText(call, "nvmlDeviceGetName", device),
    uuid: await readText(call, "nvmlDeviceGetUUID", device),
    busId: await readBusId(call, device),
    memory: await readMemory(call, device),
    // nvmlUtilization_t is two unsigned, the GPU's first.
    utilizationPercent: await readUint(call, "nvmlDeviceGetUtilizationRates", device),
    temperatureCelsius: await uint("nvmlDeviceGetTemperature", TEMPERATURE_GPU),
    powerMilliwatts: await uint("nvmlDeviceGetPowerUsage"),
    powerLimitMilliwatts: limit,
    energyMillijoules: energy,
    eventReasons:
      (await readUlong(call, "nvmlDeviceGetCurrentClocksEventReasons", device)) ??
      // Its name before driver 535.
      (await readUlong(call, "nvmlDeviceGetCurrentClocksThrottleReasons", device)),
    migEnabled,
    migDevices: migEnabled === true ? await readMigDevices(call, device) : [],
    processes: await readProcesses(call, device),
  };
}

async function readText(call: NativeCall, name: string, ...device: bigint[]): Promise<string | null> {
  const buffer = Buffer.alloc(TEXT_BYTES);
  if ((await call(name, ...device, buffer, TEXT_BYTES)) !== SUCCESS) return null;
  return untilZero(buffer);
}

function untilZero(buffer: Buffer): string {
  const end = buffer.indexOf(0);
  return buffer.toString("utf8", 0, end === -1 ? buffer.length : end);
}

/** The first unsigned that the function writes; room for two. */
async function readUint(call: NativeCall, name: string, device: bigint, ...args: number[]): Promise<number | null> {
  const buffer = Buffer.alloc(8);
  return (await call(name, device, ...args, buffer)) === SUCCESS ? buffer.readUInt32LE() : null;
}

async function readUlong(call: NativeCall, name: string, device: bigint): Promise<bigint | null> {
  const buffer = Buffer.alloc(8);
  return (await call(name, device, buffer)) === SUCCESS ? buffer.readBigUInt64LE() : null;
}

async function readBusId(call: NativeCall, device: bigint): Promise<string | null> {
  const buffer = Buffer.alloc(PCI_BYTES);
  if ((await call("nvmlDeviceGetPciInfo_v3", device, buffer)) !== SUCCESS) return null;
  return untilZero(buffer.subarray(PCI_BUS_ID_OFFSET));
}

/** The newer structure tells the driver's reserved memory apart; its `free` is what programs can get, either way. */
async function readMemory(call: NativeCall, device: bigint): Promise<NvmlDevice["memory"]> {
  const v2 = Buffer.alloc(MEMORY_V2_BYTES);
  v2.writeUInt32LE(MEMORY_V2_VERSION);
  if ((await call("nvmlDeviceGetMemoryInfo_v2", device, v2)) === SUCCESS)
    return { totalBytes: v2.readBigUInt64LE(8), freeBytes: v2.readBigUInt64LE(24) };
  const v1 = Buffer.alloc(MEMORY_V1_BYTES);
  const code = await call("nvmlDeviceGetMemoryInfo", device, v1);
  if (code === SUCCESS) return { totalBytes: v1.readBigUInt64LE(0), freeBytes: v1.readBigUInt64LE(8) };
  return code === NOT_SUPPORTED ? "not_supported" : null;
}

/** The Xid errors since the last time, each with the UUID of its card; null of one that cannot say it any more. */
export async function readXids(call: NativeCall, events: XidEvents): Promise<NvmlXid[]> {
  const xids: NvmlXid[] = [];
  for (const { device, xid } of await events.take())
    xids.push({ uuid: await readText(call, "nvmlDeviceGetUUID", device), xid });
  return xids;
}

/** Writes the current mode and the pending one; null where the card knows no MIG. */
async function readMigMode(call: NativeCall, device: bigint): Promise<boolean | null> {
  const [current, pending] = [Buffer.alloc(4), Buffer.alloc(4)];
  return (await call("nvmlDeviceGetMigMode", device, current, pending)) === SUCCESS
    ? current.readUInt32LE() === 1
    : null;
}

async function readMigDevices(call: NativeCall, device: bigint): Promise<NvmlDevice["migDevices"]> {
  const most = Math.min((await readUint(call, "nvmlDeviceGetMaxMigDeviceCount", device)) ?? 0, 64);
  const devices: NvmlDevice["migDevices"] = [];
  for (let index = 0; index < most; index++) {
    const handle = Buffer.alloc(8);
    // The numbers have gaps where no device was made.
    if ((await call("nvmlDeviceGetMigDeviceHandleByIndex", device, index, handle)) !== SUCCESS) continue;
    const mig = handle.readBigUInt64LE();
    const attributes = Buffer.alloc(ATTRIBUTES_BYTES);
    const code = await call("nvmlDeviceGetAttributes_v2", mig, attributes);
    devices.push({
      uuid: await readText(call, "nvmlDeviceGetUUID", mig),
      name: await readText(call, "nvmlDeviceGetName", mig),
      memoryMib: code === SUCCESS ? attributes.readBigUInt64LE(ATTRIBUTES_MEMORY_OFFSET) : null,
    });
  }
  return devices;
}

/** Those that compute and those that draw; one that does both is in both lists, with the same memory. */
async function readProcesses(call: NativeCall, device: bigint): Promise<NvmlDevice["processes"]> {
  const lists = [
    await readProcessList(call, "nvmlDeviceGetComputeRunningProcesses_v3", device),
    await readProcessList(call, "nvmlDeviceGetGraphicsRunningProcesses_v3", device),
  ].filter((list) => list !== null);
  if (lists.length === 0) return null;
  return [...new Map(lists.flat().map((process) => [process.pid, process])).values()];
}

async function readProcessList(call: NativeCall, name: string, device: bigint): Promise<NvmlDevice["processes"]> {
  let room = FEW_PROCESSES;
  // They may become more between two calls.
  for (let attempt = 0; attempt < 3; attempt++) {
    const count = Buffer.alloc(4);
    count.writeUInt32LE(room);
    const list = Buffer.alloc(room * PROCESS_BYTES);
    const code = await call(name, device, count, list);
    const found = count.readUInt32LE();
    if (code === SUCCESS)
      return Array.from({ length: Math.min(found, room) }, (_, at) => readProcess(list.subarray(at * PROCESS_BYTES)));
    if (code !== INSUFFICIENT_SIZE) return null;
    room = Math.min(found + FEW_PROCESSES, 4096);
  }
  return null;
}

function readProcess(entry: Buffer) {
  const usedBytes = entry.readBigUInt64LE(8);
  return { pid: entry.readUInt32LE(0), usedBytes: usedBytes === NOT_AVAILABLE ? null : usedBytes };
}
