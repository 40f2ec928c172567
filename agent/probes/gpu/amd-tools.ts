import { pciAddress } from "../pci.ts";
import type { ProbeHost } from "../probe.ts";
import { ask, at, listOf, readJson, type Tool } from "../tool.ts";
import { amount, CELSIUS, GB, RATIO, WATTS, whole, type GpuFacts } from "./facts.ts";
import { CARDS_ARGS, gpusOfCards } from "./rocm-cards.ts";

/** Both tools are Python programs and take a second. Milliseconds. */
const TIMEOUT_MS = 8000;
const AMD_SMI: Tool = { name: "amd-smi", programs: ["amd-smi", "/opt/rocm/bin/amd-smi"], timeoutMs: TIMEOUT_MS };
const ROCM_SMI: Tool = { name: "rocm-smi", programs: ["rocm-smi", "/opt/rocm/bin/rocm-smi"], timeoutMs: TIMEOUT_MS };

/**
 * What AMD's own tools say: amd-smi, or rocm-smi, its predecessor. [] = neither is here. Addresses are in sysfs's spelling.
 * @throws ProbeError when the one that is here does not answer.
 */
export async function askAmdTools(host: ProbeHost, signal: AbortSignal): Promise<GpuFacts[]> {
  const listed = await ask(host, AMD_SMI, ["static", "--asic", "--bus", "--vram", "--json"], signal);
  if (listed !== undefined) {
    const metrics = await ask(host, AMD_SMI, ["metric", "--json"], signal);
    return joined(readJson("amd-smi", listed), readJson("amd-smi", metrics ?? ""));
  }
  const cards = await ask(host, ROCM_SMI, CARDS_ARGS, signal);
  return cards === undefined ? [] : gpusOfCards("rocm-smi", cards).map(spelled);
}

/** `static` says which device has which number, `metric` what it does. Old versions answer a list, new ones `{ "gpu_data": [] }`. */
function joined(fixed: unknown, moving: unknown): GpuFacts[] {
  const metrics = devices(moving);
  return devices(fixed).map((device) => {
    const index = whole(at(device, "gpu"));
    const metric = index === null ? undefined : metrics.find((one) => whole(at(one, "gpu")) === index);
    const power = at(metric, "power");
    return spelled({
      index,
      name: at(device, "asic", "market_name"),
      address: at(device, "bus", "bdf"),
      totalGb: amount(at(metric, "mem_usage", "total_vram"), GB) ?? amount(at(device, "vram", "size"), GB),
      usedGb: amount(at(metric, "mem_usage", "used_vram"), GB),
      utilization: amount(at(metric, "usage", "gfx_activity"), RATIO),
      celsius:
        amount(at(metric, "temperature", "hotspot"), CELSIUS) ?? amount(at(metric, "temperature", "edge"), CELSIUS),
      watts: amount(at(power, "socket_power"), WATTS) ?? amount(at(power, "average_socket_power"), WATTS),
    });
  });
}

function devices(answer: unknown): unknown[] {
  return listOf(at(answer, "gpu_data") ?? answer);
}

function spelled(facts: GpuFacts): GpuFacts {
  return { ...facts, address: pciAddress(facts.address) };
}
