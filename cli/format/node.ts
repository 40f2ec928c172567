import type { SeenNode } from "../../client/index.ts";
import { table } from "./table.ts";

/** The fleet as a table: one node a line. */
export function formatNodes(nodes: readonly SeenNode[]): string {
  const rows = nodes.map(({ record, state, seenAgoMs }) => {
    const { hardware, load } = record;
    return [
      record.node_id,
      record.layer,
      record.status_reason === null ? state : `${state}: ${record.status_reason}`,
      percent(hardware.cpu_utilization),
      memory(hardware.memory_free_gb, hardware.memory_gb),
      hardware.temperature_celsius === null ? "?" : `${Math.round(hardware.temperature_celsius)} °C`,
      hardware.gpus.length === 0
        ? "none"
        : hardware.gpus.map((gpu) => `${gpu.name} ${memory(gpu.vram_free_gb, gpu.vram_total_gb)}`).join(", "),
      load === null ? "?" : `${load.running}/${load.slots}${load.queued > 0 ? ` +${load.queued}` : ""}`,
      record.models.join(", ") || "none",
      `${(seenAgoMs / 1000).toFixed(1)} s`,
    ];
  });
  return table([["NODE", "LAYER", "STATE", "CPU", "MEMORY", "TEMP", "GPU", "JOBS", "MODELS", "SEEN"], ...rows]);
}

function percent(share: number | null): string {
  return share === null ? "?" : `${Math.round(share * 100)} %`;
}

function memory(free: number | null, total: number | null): string {
  if (total === null) return "?";
  return free === null ? `${total.toFixed(0)} GB` : `${free.toFixed(0)} of ${total.toFixed(0)} GB free`;
}
