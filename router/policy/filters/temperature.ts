import type { Filter, NodeView } from "../types.ts";

/** Hotter than this, a GPU is about to slow down or stop (NVIDIA's slowdown thresholds start at about 90 °C), degrees Celsius. */
const MAX_GPU_CELSIUS = 90;
/** CPUs throttle at 95 to 105 °C, degrees Celsius. */
export const MAX_CPU_CELSIUS = 95;

/** Looks at temperatures with backlash (hysteresis.ts): a machine that was too hot is back when it is 5 °C below the limit. */
export const temperature: Filter = {
  name: "temperature",
  reject({ view }) {
    const { cpu } = view.heldCelsius;
    const { hardware } = view.record;
    if (cpu !== null && cpu > MAX_CPU_CELSIUS) return told("CPU", hardware.temperature_celsius ?? cpu, MAX_CPU_CELSIUS);
    const hot = hotGpu(view);
    return hot === undefined ? undefined : told(hot.name, hot.celsius, MAX_GPU_CELSIUS);
  },
};

/** The first GPU that counts as too hot: what it reads now and what is held of what it read before. */
export function hotGpu({ record, heldCelsius }: NodeView): { name: string; celsius: number; held: number } | undefined {
  for (const [i, held] of heldCelsius.gpus.entries()) {
    if (held === null || held <= MAX_GPU_CELSIUS) continue;
    const gpu = record.hardware.gpus[i];
    return { name: gpu?.name ?? "GPU", celsius: gpu?.temperature_celsius ?? held, held };
  }
  return undefined;
}

function told(part: string, celsius: number, limit: number): string {
  const was = celsius > limit ? "" : ` and was above ${limit} °C`;
  return `its ${part} is at ${Math.round(celsius)} °C${was}`;
}
