import { pciAddress } from "../pci.ts";
import type { Probe } from "../probe.ts";
import { at, listOf, readJson } from "../tool.ts";
import { amount, CELSIUS, GB, RATIO, WATTS, whole, type GpuFacts } from "./facts.ts";
import { createSmiProbe } from "./smi-probe.ts";

/** Moore Threads GPUs by `mthreads-gmi --query --json`: each value a text with its unit (`"81920MiB"`, `"96.66W"`). */
export function createMooreThreadsProbe(): Probe {
  return createSmiProbe({
    vendor: "moore-threads",
    brand: "MTT",
    tool: { name: "mthreads-gmi", programs: ["mthreads-gmi", "/usr/bin/mthreads-gmi"] },
    args: ["--query", "--json"],
    read(stdout) {
      const answer = readJson("mthreads-gmi", stdout);
      return listOf(at(answer, "GPU")).flatMap((gpu) => readGpu(gpu, at(answer, "Driver Version")));
    },
  });
}

function readGpu(raw: unknown, driverVersion: unknown): GpuFacts[] {
  const gpu = trimmed(raw);
  const index = whole(at(gpu, "Index"));
  const address = pciAddress(at(gpu, "PCI", "Bus ID"));
  if (index === null && address === null) return [];
  return [
    {
      index,
      uuid: at(gpu, "GPU UUID"),
      name: at(gpu, "Product Name"),
      address,
      driverVersion,
      totalGb: amount(at(gpu, "FB Memory Usage", "Total"), GB),
      usedGb: amount(at(gpu, "FB Memory Usage", "Used"), GB),
      utilization: amount(at(gpu, "Utilization", "Gpu"), RATIO),
      celsius: amount(at(gpu, "Temperature", "GPU Current Temp"), CELSIUS),
      watts: amount(at(gpu, "Power Readings", "Power Draw"), WATTS),
      limitWatts: amount(at(gpu, "Power Readings", "Current Power Limit"), WATTS),
    },
  ];
}

/** Some of the tool's keys end in a space (`"Power Draw "`). */
function trimmed(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key.trim(), trimmed(inner)]));
}
