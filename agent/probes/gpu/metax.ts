import type { Probe } from "../probe.ts";
import { gpusOfTable } from "./smi-table.ts";
import { createSmiProbe } from "./smi-probe.ts";

/** MetaX GPUs by the table of `mx-smi`. */
export function createMetaxProbe(): Probe {
  return createSmiProbe({
    vendor: "metax",
    brand: "MetaX",
    tool: { name: "mx-smi", programs: ["mx-smi", "/opt/mxdriver/bin/mx-smi", "/opt/maca/bin/mx-smi"] },
    args: [],
    read: gpusOfTable,
  });
}
