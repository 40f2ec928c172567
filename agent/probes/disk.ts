import { dirname } from "node:path";
import { Gb } from "../../bus-schemas/units.ts";
import { gbFromBytes, validOrNull, type Probe, type ProbeHost } from "./probe.ts";

/** Free space where this node keeps its state and models. */
export function createDiskProbe(): Probe {
  return {
    name: "disk",
    fills: "disk",
    everyMs: 10_000,
    timeoutMs: 5000,
    async probe(host) {
      const bytes = await freeBytesAt(host, host.stateDir);
      return {
        values: { disk_free_gb: validOrNull(Gb, gbFromBytes(bytes)) },
        how: "statfs of the disk that holds the state folder",
      };
    },
  };
}

/** The state folder may not have been made yet; then the disk is that of the nearest folder above it. */
async function freeBytesAt(host: ProbeHost, path: string): Promise<number> {
  try {
    return await host.diskFreeBytes(path);
  } catch (error) {
    const parent = dirname(path);
    if ((error as NodeJS.ErrnoException).code !== "ENOENT" || parent === path) throw error;
    return freeBytesAt(host, parent);
  }
}
