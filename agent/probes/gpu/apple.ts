import { gbFromBytes, ProbeError, validOrNull, type Probe, type ProbeHost, type Reading } from "../probe.ts";
import { Celsius, Watts } from "../../../bus-schemas/units.ts";
import { INVENTORY_MS, Remembered, SEARCH_AGAIN_MS } from "../remember.ts";
import { ask, at, listOf, readJson, unreadable, type Tool } from "../tool.ts";
import { gpuFrom } from "./facts.ts";

const IOREG: Tool = { name: "ioreg", programs: ["/usr/sbin/ioreg"], timeoutMs: 4000 };
const PROFILER: Tool = { name: "system_profiler", programs: ["/usr/sbin/system_profiler"], timeoutMs: 15_000 };
/** github.com/vladkens/macmon, without root; people install it by brew. */
const MACMON: Tool = {
  name: "macmon",
  programs: ["/opt/homebrew/bin/macmon", "/usr/local/bin/macmon", "macmon"],
  timeoutMs: 4000,
};

/**
 * The GPU of an Apple chip, without root: `ioreg` for load and memory in use, `macmon` where it is installed for temperatures and
 * power (of the whole Mac as well), `system_profiler` once an hour for a name that ioreg lacks. Its memory is the machine's.
 */
export function createAppleProbe(): Probe {
  const name = new Remembered<unknown>(INVENTORY_MS);
  const macmon = new Remembered<boolean>(SEARCH_AGAIN_MS);
  return {
    name: "apple",
    fills: "gpus",
    everyMs: 5000,
    idleEveryMs: 30_000,
    timeoutMs: 25_000,
    async probe(host, signal) {
      if (host.platform !== "darwin" || host.arch !== "arm64") return { values: { gpus: [] }, how: "no Apple chip" };
      const registry = await ask(host, IOREG, ["-r", "-d", "1", "-w", "0", "-c", "AGXAccelerator"], signal);
      if (registry === undefined || registry.trim() === "") {
        return { values: { gpus: [] }, how: "ioreg lists no AGXAccelerator" };
      }
      if (!/AGXAccelerator/.test(registry)) throw unreadable("ioreg", registry);
      const model = /^[ |]*"model" = "([^"]+)"/m.exec(registry)?.[1];
      const cores = /^[ |]*"gpu-core-count" = (\d+)/m.exec(registry)?.[1];
      const { totalBytes, availableBytes } = await host.memory();
      const totalGb = gbFromBytes(totalBytes * gpuShare(totalBytes));
      const percent = statistic(registry, "Device Utilization %");
      const inUse = statistic(registry, "In use system memory");
      const more = await sensors(host, macmon, signal);
      const gpu = gpuFrom(
        {
          index: 0,
          name: model ?? (await name.get(host.nowMs(), () => profiled(host, signal))),
          totalGb,
          // What a program takes there the GPU has not, and the other way round: the lesser of the two is free.
          usedGb: inUse === null ? null : Math.max(gbFromBytes(inUse), totalGb - gbFromBytes(availableBytes)),
          utilization: percent === null ? null : percent / 100,
          celsius: warm(at(more.answer, "temp", "gpu_temp_avg")),
          watts: validOrNull(Watts, at(more.answer, "gpu_power")),
          unifiedMemory: true,
        },
        "apple",
        "Apple GPU",
        new Date(host.nowMs()).toISOString(),
      );
      const how = `ioreg AGXAccelerator${cores === undefined ? "" : ` (${cores} GPU cores)`}${more.answer === undefined ? "" : "; macmon"}`;
      const values: Reading["values"] = { gpus: [gpu] };
      if (more.answer !== undefined) {
        values.temperature_celsius = warm(at(more.answer, "temp", "cpu_temp_avg"));
        values.power_watts = validOrNull(Watts, at(more.answer, "sys_power"));
      }
      return { values, how, ...(more.problem === undefined ? {} : { problem: more.problem }) };
    },
  };
}

/**
 * How much of its memory a Mac lets the GPU use (Metal's recommendedMaxWorkingSetSize, which only a program of Metal's can ask for): three quarters
 * above 36 GB, two thirds up to there. Newer systems give a little more; this is what all of them give.
 */
function gpuShare(totalBytes: number): number {
  return totalBytes > 36 * 2 ** 30 ? 0.75 : 2 / 3;
}

/** One number of `"PerformanceStatistics" = {"Device Utilization %"=30,…}`. Names are whole: there is an `In use system memory (driver)`. */
function statistic(registry: string, name: string): number | null {
  const [, digits] = new RegExp(`"${name}"=(\\d{1,18})[,}]`).exec(registry) ?? [];
  return digits === undefined ? null : Number(digits);
}

async function profiled(host: ProbeHost, signal: AbortSignal): Promise<unknown> {
  const stdout = await ask(host, PROFILER, ["SPDisplaysDataType", "-json"], signal);
  const [first] = stdout === undefined ? [] : listOf(at(readJson("system_profiler", stdout), "SPDisplaysDataType"));
  return at(first, "sppci_model") ?? at(first, "_name");
}

/** One sample of macmon's; it measures over half a second. `answer` undefined: it is not installed, or did not answer (`problem`). */
async function sensors(
  host: ProbeHost,
  installed: Remembered<boolean>,
  signal: AbortSignal,
): Promise<{ answer?: unknown; problem?: string }> {
  try {
    let stdout: string | undefined;
    const there = await installed.get(host.nowMs(), async () => {
      stdout = await ask(host, MACMON, ["pipe", "-s", "1", "-i", "500"], signal);
      return stdout !== undefined;
    });
    if (!there) return {};
    stdout ??= await ask(host, MACMON, ["pipe", "-s", "1", "-i", "500"], signal);
    return stdout === undefined ? {} : { answer: readJson("macmon", stdout) };
  } catch (error) {
    if (error instanceof ProbeError) return { problem: error.message };
    throw error;
  }
}

/** A sensor that cannot be read is 0 there. */
function warm(celsius: unknown): number | null {
  return typeof celsius === "number" && celsius > 0 ? validOrNull(Celsius, celsius) : null;
}
