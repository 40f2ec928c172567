import type { Filter } from "../types.ts";

/** Hotter than this, a GPU is about to slow down or stop (NVIDIA's slowdown thresholds start at about 90 °C), degrees Celsius. */
const MAX_GPU_CELSIUS = 90;
/** CPUs throttle at 95 to 105 °C, degrees Celsius. */
const MAX_CPU_CELSIUS = 95;

export const temperature: Filter = {
  name: "temperature",
  reject({ view }) {
    const { gpus, temperature_celsius: cpu } = view.record.hardware;
    if (cpu !== null && cpu > MAX_CPU_CELSIUS) return `its CPU is at ${Math.round(cpu)} °C`;
    const hot = gpus.find((gpu) => gpu.temperature_celsius !== null && gpu.temperature_celsius > MAX_GPU_CELSIUS);
    return hot === undefined ? undefined : `its ${hot.name} is at ${Math.round(hot.temperature_celsius ?? 0)} °C`;
  },
};
