import type { Gpu } from "../../bus-schemas/index.ts";
import type { SeenNode } from "../../client/index.ts";
import { table } from "./table.ts";

/** The fleet as a table: one node a line. */
export function formatNodes(nodes: readonly SeenNode[]): string {
  const rows = nodes.map(({ record, state, seenAgoMs }) => {
    const { hardware, load } = record;
    return [
      record.name === null ? record.node_id : `${record.node_id} (${record.name})`,
      record.layer,
      record.status_reason === null ? state : `${state}: ${record.status_reason}`,
      percent(hardware.cpu_utilization),
      memory(hardware.memory_free_gb, hardware.memory_gb),
      hardware.temperature_celsius === null ? "?" : `${Math.round(hardware.temperature_celsius)} °C`,
      hardware.gpus.length === 0 ? "none" : hardware.gpus.map(gpuShown).join(", "),
      load === null ? "?" : `${load.running}/${load.slots}${load.queued > 0 ? ` +${load.queued}` : ""}`,
      record.models.join(", ") || "none",
      `${(seenAgoMs / 1000).toFixed(1)} s`,
    ];
  });
  // Most fleets have none, and the table is wide as it is.
  const labelled = nodes.some(({ record }) => Object.keys(record.labels).length > 0);
  if (labelled) for (const [i, { record }] of nodes.entries()) rows[i]?.push(labelsShown(record.labels));
  return table([
    [
      "NODE",
      "LAYER",
      "STATE",
      "CPU",
      "MEMORY",
      "TEMP",
      "GPU",
      "JOBS",
      "MODELS",
      "SEEN",
      ...(labelled ? ["LABELS"] : []),
    ],
    ...rows,
  ]);
}

function gpuShown({ name, sick, vram_free_gb: free, vram_total_gb: total }: Gpu): string {
  return sick === null ? `${name} ${memory(free, total)}` : `${name} SICK: ${sick}`;
}

/** `rack=7, site=Berlin` */
export function labelsShown(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`)
    .join(", ");
}

function percent(share: number | null): string {
  return share === null ? "?" : `${Math.round(share * 100)} %`;
}

function memory(free: number | null, total: number | null): string {
  if (total === null) return "?";
  return free === null ? `${total.toFixed(0)} GB` : `${free.toFixed(0)} of ${total.toFixed(0)} GB free`;
}
