import type { Probe } from "../probe.ts";
import { gpusOfTable } from "./smi-table.ts";
import { createSmiProbe } from "./smi-probe.ts";

/** Cambricon MLUs by the table of `cnmon`. Not by `cnmon info -j`: that writes a file into the current folder. */
export function createCambriconProbe(): Probe {
  return createSmiProbe({
    vendor: "cambricon",
    brand: "Cambricon",
    tool: { name: "cnmon", programs: ["cnmon", "/usr/bin/cnmon", "/usr/local/neuware/bin/cnmon"] },
    args: [],
    read: gpusOfTable,
  });
}
