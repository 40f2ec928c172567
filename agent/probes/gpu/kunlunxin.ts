import type { Probe } from "../probe.ts";
import { gpusOfTable } from "./smi-table.ts";
import { createSmiProbe } from "./smi-probe.ts";

/**
 * Kunlunxin XPUs by the table of their `xpu-smi` (older drivers: `xpu_smi`). Intel has another tool of the same name; which of the two it
 * is follows from the card on the PCI bus.
 */
export function createKunlunxinProbe(): Probe {
  return createSmiProbe({
    vendor: "kunlunxin",
    brand: "Kunlunxin",
    tool: { name: "xpu-smi", programs: ["xpu-smi", "/usr/local/bin/xpu-smi", "/usr/local/xpu/bin/xpu-smi", "xpu_smi"] },
    args: [],
    read: gpusOfTable,
  });
}
