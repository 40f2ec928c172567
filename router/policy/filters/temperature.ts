import type { Gpu } from "../../../bus-schemas/index.ts";
import type { Filter } from "../types.ts";

/** Hotter than this, a GPU is about to slow down or stop (NVIDIA's slowdown thresholds start at about 90 °C), degrees Celsius. */
export const MAX_GPU_CELSIUS = 90;
/** CPUs throttle at 95 to 105 °C, degrees Celsius. */
export const MAX_CPU_CELSIUS = 95;

export const temperature: Filter = {
  name: "temperature",
  reject({ view }) {
    const { gpus, temperature_celsius: cpu } = view.record.hardware;
    if (cpu !== null && cpu > MAX_CPU_CELSIUS) return `its CPU is at ${Math.round(cpu)} °C`;
    const hottest = hottestGpu(gpus);
    const celsius = hottest?.temperature_celsius ?? 0;
    return celsius > MAX_GPU_CELSIUS ? `its ${hottest?.name} is at ${Math.round(celsius)} °C` : undefined;
  },
};

/** The first of the hottest whose temperature is known. */
export function hottestGpu(gpus: readonly Gpu[]): Gpu | undefined {
  let hottest: Gpu | undefined;
  for (const gpu of gpus) {
    if (gpu.temperature_celsius === null) continue;
    if (hottest === undefined || gpu.temperature_celsius > (hottest.temperature_celsius ?? -Infinity)) hottest = gpu;
  }
  return hottest;
}
