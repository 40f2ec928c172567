import type { Gpu } from "../../bus-schemas/index.ts";
import type { SeenNode } from "../../client/index.ts";
import type { SleepEntry } from "../../bus-schemas/index.ts";
import { describeSleep } from "../nodes/sleepers.ts";
import { table } from "./table.ts";

/** The fleet as a table: one node a line. @param nowMs wall clock */
export function formatNodes(
  nodes: readonly SeenNode[],
  sleepers: ReadonlyMap<string, SleepEntry> = new Map(),
  nowMs = Date.now(),
): string {
  const rows = nodes.map(({ record, state, seenAgoMs }) => {
    const { hardware, load } = record;
    const sleeper = state === "asleep" ? sleepers.get(record.node_id) : undefined;
    const said = record.status_reason === null ? state : `${state}: ${record.status_reason}`;
    return [
      record.name === null ? record.node_id : `${record.node_id} (${record.name})`,
      record.layer,
      sleeper === undefined ? said : describeSleep(sleeper, nowMs),
      percent(hardware.cpu_utilization),
      memory(hardware.memory_free_gb, hardware.memory_gb),
      hardware.temperature_celsius === null ? "?" : `${Math.round(hardware.temperature_celsius)} °C`,
      hardware.gpus.length === 0 ? "none" : hardware.gpus.map(gpuShown).join(", "),
      load === null ? "?" : `${load.running}/${load.slots}${load.queued > 0 ? ` +${load.queued}` : ""}`,
      record.models.join(", ") || "none",
      ago(seenAgoMs),
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

/** `1.2 s`; of a machine that sleeps `5 h`. */
function ago(ms: number): string {
  if (ms < 120_000) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 7_200_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`;
}

function percent(share: number | null): string {
  return share === null ? "?" : `${Math.round(share * 100)} %`;
}

function memory(free: number | null, total: number | null): string {
  if (total === null) return "?";
  return free === null ? `${total.toFixed(0)} GB` : `${free.toFixed(0)} of ${total.toFixed(0)} GB free`;
}
