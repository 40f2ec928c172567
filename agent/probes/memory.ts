import { Gb } from "../../bus-schemas/units.ts";
import { gbFromBytes, ProbeError, validOrNull, type Probe } from "./probe.ts";

/** Main memory. Free means what programs can still get: the page cache gives way. */
export function createMemoryProbe(): Probe {
  return {
    name: "memory",
    fills: "memory",
    everyMs: 2000,
    timeoutMs: 5000,
    async probe(host) {
      const { totalBytes, availableBytes } = await host.memory();
      const totalGb = totalBytes > 0 ? validOrNull(Gb, gbFromBytes(totalBytes)) : null;
      if (totalGb === null) throw new ProbeError("the operating system does not say how much memory there is");
      const freeGb = validOrNull(Gb.max(totalGb), gbFromBytes(availableBytes));
      return {
        values: { memory_gb: totalGb, memory_free_gb: freeGb },
        how: host.platform === "linux" ? "/proc/meminfo: MemTotal, MemAvailable" : "systeminformation mem()",
      };
    },
  };
}
