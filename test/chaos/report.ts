import type { ClientJob, FaultNote } from "./history.ts";

/** What each fault did to the jobs that lived through it, as a Markdown table. */
export function faultTable(jobs: readonly ClientJob[], faults: readonly FaultNote[]): string {
  const rows = [...Map.groupBy(faults, ({ name }) => name)].map(([name, all]) => row(name, jobs, all));
  const quiet = jobs.filter((job) => !faults.some((fault) => touches(fault, job)));
  return table([
    ["fault", "times", "jobs", "errors", "of which", "p50 ms", "p99 ms", "healed after s, worst"],
    ["(none)", "", ...numbers(quiet), ""],
    ...rows.toSorted(([a = ""], [b = ""]) => a.localeCompare(b)),
  ]);
}

function row(name: string, jobs: readonly ClientJob[], faults: readonly FaultNote[]): string[] {
  const touched = jobs.filter((job) => faults.some((fault) => touches(fault, job)));
  const heals = faults.map(({ healedMs, releasedMs }) => (healedMs ?? Infinity) - releasedMs);
  const worst = Math.max(...heals);
  return [
    name,
    String(faults.length),
    ...numbers(touched),
    Number.isFinite(worst) ? (worst / 1000).toFixed(1) : "never",
  ];
}

/** Whether a job was on its way while a fault was there, or until all was well again. */
function touches({ injectedMs, releasedMs, healedMs }: FaultNote, job: ClientJob): boolean {
  const endMs = job.endings[0]?.atMs ?? Infinity;
  return endMs >= injectedMs && job.sentMs <= (healedMs ?? releasedMs);
}

function numbers(jobs: readonly ClientJob[]): string[] {
  const failed = jobs.filter(({ endings, expects }) => {
    const how = endings[0]?.how;
    return how !== "answer" && how !== expects;
  });
  const codes = Object.entries(Object.groupBy(failed, ({ endings }) => endings[0]?.how ?? "nothing"))
    .map(([how, all]) => `${how} ${all?.length}`)
    .join(", ");
  const times = jobs
    .filter(({ endings, expects }) => endings[0]?.how === "answer" && expects === undefined)
    .map(({ endings, sentMs }) => (endings[0]?.atMs ?? 0) - sentMs)
    .toSorted((a, b) => a - b);
  return [String(jobs.length), String(failed.length), codes, percentile(times, 0.5), percentile(times, 0.99)];
}

function percentile(sorted: readonly number[], share: number): string {
  const value = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  return value === undefined ? "" : value.toFixed(0);
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((cells) => cells[i]?.length ?? 0)));
  const line = (cells: readonly string[]) => `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(" | ")} |`;
  const [head = [], ...body] = rows;
  return [line(head), line(widths.map((width) => "-".repeat(width))), ...body.map(line)].join("\n");
}
