import type { Probe } from "../probe.ts";
import { gpusOfTable } from "./smi-table.ts";
import { createSmiProbe } from "./smi-probe.ts";

/**
 * Huawei Ascend NPUs by the table of `npu-smi info`, which says everything at once: power (W), temperature (°C), AICore (%), and memory
 * (MB of 2^20), HBM where the chip has it.
 */
export function createAscendProbe(): Probe {
  return createSmiProbe({
    vendor: "huawei",
    brand: "Ascend",
    tool: { name: "npu-smi", programs: ["npu-smi", "/usr/local/sbin/npu-smi", "/usr/local/bin/npu-smi"] },
    args: ["info"],
    read: gpusOfTable,
  });
}
