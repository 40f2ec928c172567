import type { Gpu } from "../../bus-schemas/index.ts";
import type { ProbedOnce } from "../../agent/probes/once.ts";
import { table } from "./table.ts";

type Known = ProbedOnce["values"][number];

/** What an agent sees of its machine, a line for each value with where it comes from; what is wrong follows. */
export function probed({ values, problems }: Pick<ProbedOnce, "values" | "problems">): string {
  const rows = values
    .filter(({ field, value }) => field !== "gpus" || (value as Gpu[]).length === 0)
    .map((known) => [known.field, shown(known), known.probe, known.how]);
  // Each maker's probe says that it has found nothing; that is one line for all.
  const [none, others] = [rows.filter(([field]) => field === "gpus"), rows.filter(([field]) => field !== "gpus")];
  const gpus = values.flatMap(gpuRows);
  const lookedFor = `looked for by ${none.map(([, , probe]) => probe).join(", ")}`;
  const missing = gpus.length > 0 ? [] : [["gpus", "none", `${none.length} probes`, lookedFor]];
  const lines = [table([["VALUE", "", "PROBE", "HOW IT IS KNOWN"], ...others, ...gpus, ...missing])];
  if (problems.length > 0) lines.push("", ...problems.map(({ probe, message }) => `! ${probe}: ${message}`));
  return lines.join("\n");
}

function gpuRows({ field, value, probe, how }: Known): string[][] {
  if (field !== "gpus") return [];
  return (value as Gpu[]).map((gpu, at) => [`gpu ${gpu.index ?? at}`, gpuShown(gpu), probe, how]);
}

function gpuShown(gpu: Gpu): string {
  const parts = [
    gpu.name,
    gpu.pci_address,
    gpu.asleep === true ? "asleep" : null,
    gpu.vram_total_gb === null ? "memory unknown" : `${gpu.vram_free_gb ?? "?"} of ${gpu.vram_total_gb} GB free`,
    gpu.unified_memory === true ? "shared with the machine" : null,
    gpu.utilization === null ? null : `${Math.round(gpu.utilization * 100)}% busy`,
    gpu.temperature_celsius === null ? null : `${gpu.temperature_celsius} °C`,
    gpu.power_watts === null ? null : `${gpu.power_watts} W`,
    gpu.throttled === null || gpu.throttled.length === 0 ? null : gpu.throttled.join(" "),
  ];
  return parts.filter((part) => part !== null).join(", ");
}

/** Units as the fields' names have them. */
const UNITS: readonly (readonly [end: string, unit: string])[] = [
  ["_gb", " GB"],
  ["_celsius", " °C"],
  ["_watts", " W"],
  ["_seconds", " s"],
];

function shown({ field, value }: Known): string {
  if (value === null || value === undefined || typeof value === "object") return "unknown";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (field === "cpu_utilization" || field === "battery_level") return `${Math.round(Number(value) * 100)} %`;
  return `${value}${UNITS.find(([end]) => field.endsWith(end))?.[1] ?? ""}`;
}
