import { pciAddress, pciDevices, type PciDevice } from "../pci.ts";
import { ProbeError, type Probe, type ProbeHost } from "../probe.ts";
import { INVENTORY_MS, Remembered } from "../remember.ts";
import { EnergyMeter, MICRO, MILLI, readNumber, sensorsOf } from "../sysfs.ts";
import { ask, at, listOf, readJson, type Tool } from "../tool.ts";
import { amount, CELSIUS, completed, GB, gpuFrom, RATIO, WATTS, whole, type GpuFacts } from "./facts.ts";

/** Intel's XPU-SMI; it loads the Level Zero runtime first. Milliseconds. */
const XPU_SMI: Tool = { name: "xpu-smi", programs: ["xpu-smi", "/usr/bin/xpu-smi"], timeoutMs: 8000 };
/** Graphics in the processor always have this address. They have no memory of their own, so they count only where xpu-smi does. */
const BUILT_IN = "0000:00:02.0";

/** What xpu-smi calls a device, found once an hour. */
interface Listed extends GpuFacts {
  id: number;
  address: string | null;
}

/**
 * Intel GPUs on Linux: temperature, power and its limit by the hwmon files of the i915 and xe drivers, the rest by `xpu-smi discovery -j` (once
 * an hour) and `xpu-smi stats -d N -j`. A card that sleeps is not woken.
 */
export function createIntelProbe(): Probe {
  const discovered = new Remembered<Listed[]>(INVENTORY_MS);
  const meters = new Map<string, EnergyMeter>();
  /** Names and sizes, for the time when a card sleeps. */
  const still = new Map<string, GpuFacts>();
  return {
    name: "intel",
    fills: "gpus",
    everyMs: 5000,
    idleEveryMs: 30_000,
    timeoutMs: 30_000,
    async probe(host, signal) {
      const devices = await pciDevices(host, "intel");
      if (devices.length === 0) return { values: { gpus: [] }, how: "no Intel GPU on the PCI bus" };
      const told = new Map<string, GpuFacts>();
      let problem: string | undefined;
      if (!devices.some(({ asleep }) => asleep)) {
        try {
          for (const listed of await discovered.get(host.nowMs(), () => discover(host, signal))) {
            if (listed.address === null) continue;
            still.set(listed.address, listed);
            told.set(listed.address, await withStats(host, listed, signal));
          }
        } catch (error) {
          if (!(error instanceof ProbeError)) throw error;
          problem = error.message;
        }
      }
      const sampledAt = new Date(host.nowMs()).toISOString();
      const kept = devices.filter(({ address }) => address !== BUILT_IN || still.has(address));
      const gpus = await Promise.all(
        kept.map(async (device, index) => {
          const meter = meters.get(device.address) ?? new EnergyMeter();
          meters.set(device.address, meter);
          const facts = completed(
            await readCard(host, device, meter),
            told.get(device.address) ?? still.get(device.address),
          );
          return gpuFrom({ ...facts, index }, "intel", `Intel GPU ${device.deviceId}`, sampledAt);
        }),
      );
      const how = told.size === 0 ? "sysfs; no answer of xpu-smi" : "sysfs; xpu-smi discovery and stats";
      return { values: { gpus }, how, ...(problem === undefined ? {} : { problem }) };
    },
  };
}

async function readCard(host: ProbeHost, { path, address, asleep }: PciDevice, meter: EnergyMeter): Promise<GpuFacts> {
  const sensors = asleep ? null : await sensorsOf(host, path);
  if (sensors === null) return { address, asleep };
  const joules = await readNumber(host, `${sensors}/energy1_input`, MICRO);
  return {
    address,
    asleep,
    // xe: temp2 is the package, temp3 the memory; i915 has one sensor.
    celsius:
      (await readNumber(host, `${sensors}/temp2_input`, MILLI)) ??
      (await readNumber(host, `${sensors}/temp1_input`, MILLI)),
    watts: meter.watts(joules, host.nowMs()),
    joules,
    // 0: the limit is off.
    limitWatts: (await readNumber(host, `${sensors}/power1_max`, MICRO)) || null,
  };
}

async function discover(host: ProbeHost, signal: AbortSignal): Promise<Listed[]> {
  const list = await question(host, ["discovery", "-j"], signal);
  const found: Listed[] = [];
  for (const device of listOf(at(list, "device_list"))) {
    const id = whole(at(device, "device_id"));
    if (id === null || at(device, "device_type") === "CPU") continue;
    // The list has names and addresses; memory and driver are told of one device at a time.
    const details = await question(host, ["discovery", "-d", String(id), "-j"], signal);
    found.push({
      id,
      name: at(device, "device_name"),
      uuid: at(device, "uuid"),
      address: pciAddress(at(device, "pci_bdf_address")),
      driverVersion: at(details, "driver_version"),
      totalGb: amount(at(details, "memory_physical_size_byte"), GB, "b"),
    });
  }
  return found;
}

async function withStats(host: ProbeHost, listed: Listed, signal: AbortSignal): Promise<GpuFacts> {
  const answer = await question(host, ["stats", "-d", String(listed.id), "-j"], signal);
  const perTile = listOf(at(answer, "tile_level")).map((tile) => listOf(at(tile, "data_list")));
  const values = (type: string): unknown[] => {
    const valueIn = (metrics: unknown[]) =>
      at(
        metrics.find((one) => at(one, "metrics_type") === type),
        "value",
      );
    const ofDevice = valueIn(listOf(at(answer, "device_level")));
    return ofDevice === undefined ? perTile.map(valueIn) : [ofDevice];
  };
  return {
    ...listed,
    usedGb: usedGb(values("XPUM_STATS_MEMORY_USED"), listed.totalGb ?? null),
    utilization: most(values("XPUM_STATS_GPU_UTILIZATION").map((value) => amount(value, RATIO, "%"))),
    celsius: most(values("XPUM_STATS_GPU_CORE_TEMPERATURE").map((value) => amount(value, CELSIUS, "c"))),
    watts: sum(values("XPUM_STATS_POWER").map((value) => amount(value, WATTS, "w"))),
  };
}

/** {} when there is no xpu-smi. It ends with 0 and `{ "error": … }` when it has not found out. */
async function question(host: ProbeHost, args: readonly string[], signal: AbortSignal): Promise<unknown> {
  const stdout = await ask(host, XPU_SMI, args, signal);
  if (stdout === undefined) return {};
  const answer = readJson("xpu-smi", stdout);
  const error = at(answer, "error");
  if (typeof error === "string") throw new ProbeError(`xpu-smi: ${error.slice(0, 200)}`);
  return answer;
}

/** Versions differ in whether this is bytes or MiB; only one of the two fits into the card. Unknown without its size. */
function usedGb(values: unknown[], totalGb: number | null): number | null {
  if (totalGb === null) return null;
  const asMib = sum(values.map((value) => amount(value, GB, "mib")));
  if (asMib === null || asMib <= totalGb) return asMib;
  return sum(values.map((value) => amount(value, GB, "b")));
}

/** null unless each tile says something. */
function sum(values: (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 || known.length < values.length ? null : known.reduce((total, value) => total + value, 0);
}

/** The highest of the tiles'; null when none says anything. */
function most(values: (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : Math.max(...known);
}
