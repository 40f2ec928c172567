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
      record.node_id,
      record.layer,
      sleeper === undefined ? said : describeSleep(sleeper, nowMs),
      percent(hardware.cpu_utilization),
      memory(hardware.memory_free_gb, hardware.memory_gb),
      hardware.temperature_celsius === null ? "?" : `${Math.round(hardware.temperature_celsius)} °C`,
      hardware.gpus.length === 0
        ? "none"
        : hardware.gpus.map((gpu) => `${gpu.name} ${memory(gpu.vram_free_gb, gpu.vram_total_gb)}`).join(", "),
      load === null ? "?" : `${load.running}/${load.slots}${load.queued > 0 ? ` +${load.queued}` : ""}`,
      record.models.join(", ") || "none",
      ago(seenAgoMs),
    ];
  });
  return table([["NODE", "LAYER", "STATE", "CPU", "MEMORY", "TEMP", "GPU", "JOBS", "MODELS", "SEEN"], ...rows]);
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
