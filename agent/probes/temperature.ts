import { Celsius } from "../../bus-schemas/units.ts";
import { validOrNull, type Probe } from "./probe.ts";

/** CPU temperature. Most virtual machines, and macOS without an extra package, have none: null. */
export function createTemperatureProbe(): Probe {
  return {
    name: "temperature",
    fills: "temperature",
    everyMs: 5000,
    timeoutMs: 10_000,
    async probe(host) {
      const { main, max } = await host.cpuTemperature();
      const celsius = plausible(main) ?? plausible(max);
      const how =
        celsius === null ? "systeminformation cpuTemperature() found no sensor" : "systeminformation cpuTemperature()";
      return { values: { temperature_celsius: celsius }, how };
    },
  };
}

/** A sensor that cannot be read is 0 or -1 in systeminformation; a running CPU is warmer than that. */
function plausible(celsius: number | null): number | null {
  return celsius !== null && celsius > 0 ? validOrNull(Celsius, celsius) : null;
}
