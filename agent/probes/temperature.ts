import { Celsius } from "../../bus-schemas/units.ts";
import { validOrNull, type Probe, type ProbeHost, type Reading } from "./probe.ts";
import { MILLI, readLine, readNumber } from "./sysfs.ts";
import { ask, unreadable, type Tool } from "./tool.ts";

const PMSET: Tool = { name: "pmset", programs: ["/usr/bin/pmset"], timeoutMs: 4000 };
const SENSORS = "/sys/class/hwmon";
/** Drivers of a processor's own sensor: Intel, AMD (kernel and zenpower), ARM boards. */
const CPU_DRIVERS = ["coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal"];

/** systeminformation starts a shell to look; where it found no sensor it is asked again after this time, milliseconds. */
const LOOK_AGAIN_MS = 10 * 60_000;

/**
 * CPU temperature, °C. Linux: the processor's driver in /sys/class/hwmon, no process; else systeminformation. Most virtual machines have none, and
 * macOS none without an extra package: null. Of macOS also how hot it says it is, by `pmset -g therm`, without root.
 */
export function createTemperatureProbe(): Probe {
  let noneAtMs: number | undefined;
  return {
    name: "temperature",
    fills: "temperature",
    everyMs: 5000,
    timeoutMs: 10_000,
    async probe(host, signal) {
      const direct = host.platform === "linux" ? await ofHwmon(host) : null;
      if (direct !== null) return { values: { temperature_celsius: direct }, how: SENSORS };
      const sinceNoneMs = noneAtMs === undefined ? Infinity : Math.abs(host.nowMs() - noneAtMs);
      const celsius = sinceNoneMs < LOOK_AGAIN_MS ? null : await ofLibrary(host);
      if (celsius !== null) noneAtMs = undefined;
      else if (sinceNoneMs >= LOOK_AGAIN_MS) noneAtMs = host.nowMs();
      const how =
        celsius === null ? "systeminformation cpuTemperature() found no sensor" : "systeminformation cpuTemperature()";
      const values: Reading["values"] = { temperature_celsius: celsius };
      if (host.platform !== "darwin") return { values, how };
      return {
        values: { ...values, thermal_pressure: await thermalPressure(host, signal) },
        how: `${how}; pmset -g therm`,
      };
    },
  };
}

async function ofLibrary(host: ProbeHost): Promise<number | null> {
  const { main, max } = await host.cpuTemperature();
  return plausible(main) ?? plausible(max);
}

/** The warmest of the processors; the first sensor of each is the whole package (Tctl with AMD). */
async function ofHwmon(host: ProbeHost): Promise<number | null> {
  let warmest: number | null = null;
  for (const name of await host.list(SENSORS)) {
    const path = `${SENSORS}/${name}`;
    if (!CPU_DRIVERS.includes((await readLine(host, `${path}/name`)) ?? "")) continue;
    const celsius = plausible(await readNumber(host, `${path}/temp1_input`, MILLI));
    if (celsius !== null) warmest = Math.max(warmest ?? celsius, celsius);
  }
  return warmest;
}

/** A sensor that cannot be read is 0 or -1 in systeminformation; a running CPU is warmer than that. */
function plausible(celsius: number | null): number | null {
  return celsius !== null && celsius > 0 ? validOrNull(Celsius, celsius) : null;
}

/**
 * In the words of macOS (ProcessInfo.ThermalState). pmset says that no warning was recorded, or its level (IOPMThermalWarningLevel: 0 normal,
 * 5 danger, 10 crisis), and on Intel chips to how many percent the processor is held back.
 */
async function thermalPressure(host: ProbeHost, signal: AbortSignal): Promise<string | null> {
  const said = await ask(host, PMSET, ["-g", "therm"], signal);
  if (said === undefined) return null;
  const limit = /CPU_Speed_Limit\s*=\s*(\d{1,3})\s*\n/.exec(said)?.[1];
  const level = /thermal warning level\D{0,20}(\d{1,3})\s*\n/i.exec(said)?.[1];
  const recorded = !/No thermal warning level has been recorded/i.test(said);
  if (level === undefined && limit === undefined && recorded) throw unreadable("pmset", said);
  if (level !== undefined && Number(level) >= 10) return "critical";
  const slowed = (level !== undefined && Number(level) >= 5) || (limit !== undefined && Number(limit) < 100);
  return slowed ? "serious" : "nominal";
}
