import { table } from "../format/table.ts";
import type { SkippedKind } from "./kinds.ts";
import type { DemoSummary, Served } from "./summary.ts";

/** The summary for people: a table, what failed, what there was no machine for. */
export function demoReport(
  { energy_wh, failures, finished, jobs, served }: DemoSummary,
  skipped: readonly SkippedKind[],
): string {
  const heading = ["KIND", "NODE", "LAYER", "MODEL", "JOBS", "TTFT", "TOKENS/S", "ENERGY", "SCORE", "S", "C", "L", "K"];
  const lines = served.length === 0 ? [] : [table([heading, ...served.map(row)]), ""];
  const energy = energy_wh === null ? "no node knows its power" : `${wattHours(energy_wh)} in all, where it is known`;
  lines.push(`${finished} of ${jobs} jobs finished; energy: ${energy}`);
  lines.push(
    "score = what the router chose by: S security, C capability, L latency, K cost; tiermesh route --explain has the others",
  );
  if (served.some(({ diagnostic }) => diagnostic))
    lines.push("(echo) = the diagnostic runtime answered: no model was run; start one, or see tiermesh doctor");
  for (const { kind, job_id, status, error, node_id } of failures)
    lines.push(
      `! ${kind}: ${status}${node_id === null ? "" : ` on ${node_id}`}: ${error?.message ?? "no reason"} (job ${job_id})`,
    );
  for (const { name, reason } of skipped) lines.push(`- not sent, ${name}: ${reason}`);
  return lines.join("\n");
}

function row({ kind, node_id, layer, model, diagnostic, jobs, score, ...measured }: Served): string[] {
  const { ttft_ms_median: ttft, tokens_per_second_median: rate, energy_wh: wh } = measured;
  const terms = score === null ? [] : [score.total, score.security, score.capability, score.latency, score.cost];
  return [
    kind,
    node_id,
    layer ?? "?",
    `${model ?? "?"}${diagnostic ? " (echo)" : ""}`,
    String(jobs),
    ttft === null ? "-" : `${Math.round(ttft)} ms`,
    rate === null ? "-" : rate.toFixed(1),
    wh === null ? "?" : wattHours(wh),
    ...(terms.length === 0 ? ["?", "", "", "", ""] : terms.map((term) => term.toFixed(2))),
  ];
}

/** Two digits that count: a short answer takes thousandths. */
function wattHours(wh: number): string {
  return `${Number(wh.toPrecision(2))} Wh`;
}
