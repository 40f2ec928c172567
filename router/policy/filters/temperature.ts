import type { Filter } from "../types.ts";

/** Hotter than this, a GPU is about to slow down or stop (NVIDIA's slowdown thresholds start at about 90 °C), degrees Celsius. */
const MAX_GPU_CELSIUS = 90;
/** CPUs throttle at 95 to 105 °C, degrees Celsius. */
const MAX_CPU_CELSIUS = 95;

/** Looks at temperatures with backlash (hysteresis.ts): a machine that was too hot is back when it is 5 °C below the limit. */
export const temperature: Filter = {
  name: "temperature",
  reject({ view }) {
    const { cpu, gpus } = view.heldCelsius;
    const { hardware } = view.record;
    if (cpu !== null && cpu > MAX_CPU_CELSIUS) return told("CPU", hardware.temperature_celsius ?? cpu, MAX_CPU_CELSIUS);
    for (const [i, held] of gpus.entries()) {
      if (held === null || held <= MAX_GPU_CELSIUS) continue;
      const gpu = hardware.gpus[i];
      return told(gpu?.name ?? "GPU", gpu?.temperature_celsius ?? held, MAX_GPU_CELSIUS);
    }
    return undefined;
  },
};

function told(part: string, celsius: number, limit: number): string {
  const was = celsius > limit ? "" : ` and was above ${limit} °C`;
  return `its ${part} is at ${Math.round(celsius)} °C${was}`;
}
