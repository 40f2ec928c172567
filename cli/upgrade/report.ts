import { note } from "../format/terminal.ts";
import type { Conducted } from "./conduct.ts";
import type { Step, Tell } from "./fleet.ts";
import type { Plan } from "./plan.ts";

/** The plan, for people. */
export function planLines({ already, batches, cannot, version }: Plan): string[] {
  const count = batches.flat().length;
  const counted = (many: number, one: string, more: string) => `${many} ${many === 1 ? one : more}`;
  const nodes = (many: number) => counted(many, "node", "nodes");
  return [
    count === 0
      ? `nothing to do for ${version}`
      : `${nodes(count)} to ${version}, in ${counted(batches.length, "batch", "batches")}:`,
    ...batches.map((batch, i) => `  ${i + 1}. ${batch.join(", ")}${i === 0 && batch.length === 1 ? "  (canary)" : ""}`),
    ...(already.length === 0 ? [] : [`there already: ${already.join(", ")}`]),
    ...(cannot.length === 0 ? [] : [`cannot (${nodes(cannot.length)}):`]),
    ...cannot.map(({ id, message, problem }) => `  ${id}: ${problem}: ${message}`),
  ];
}

/** What is going on, for people, on standard error. @param watch tells downloads in per cent, too */
export function teller(watch: boolean): Tell {
  return (step) => {
    const line = lineOf(step, watch);
    if (line !== undefined) note(line);
  };
}

function lineOf(step: Step, watch: boolean): string | undefined {
  if (step.step === "batch")
    return `batch ${step.number} of ${step.of}: ${step.nodes.join(", ")}${step.canary ? " (canary)" : ""}`;
  if (step.step === "soaked") {
    const nodes = step.nodes.join(", ");
    return step.jobs === 0
      ? `  no job ended on ${nodes} meanwhile: how it does with jobs nobody has seen`
      : `  ${step.jobs} jobs ended on ${nodes} meanwhile`;
  }
  if (step.step === "soak") return `  watching the fleet for ${step.seconds} s`;
  const { is, node, percent, why } = step;
  if (is === "downloading") return watch ? `  ${node}  downloading ${percent ?? 0} %` : undefined;
  return `  ${node}  ${is.replaceAll("_", " ")}${why === undefined ? "" : `: ${why}`}`;
}

/** How it ended, for people. */
export function endLines({ end, left, rolledBack, trouble, upgraded, why }: Conducted, version: string): string[] {
  const list = (nodes: readonly string[]) => (nodes.length === 0 ? "none" : nodes.join(", "));
  const unlessSaid = (node: string, because: string) =>
    because === why || `${node}: ${because}` === why ? "" : `: ${because}`;
  const again = `the same command goes on with ${left.length} left`;
  return [
    end === "done"
      ? `done: ${upgraded.length} upgraded to ${version}`
      : end === "asked"
        ? `ended between two batches (${why ?? "asked to"}); ${again}`
        : `stopped: ${why ?? "health dropped"}`,
    ...(end === "done"
      ? []
      : [`upgraded: ${list(upgraded)}${upgraded.length === 0 ? "" : " (tiermesh node rollback takes one back)"}`]),
    ...rolledBack.map(({ node, why: because }) => `on its former program: ${node}${unlessSaid(node, because)}`),
    ...trouble.map(({ node, why: because }) => `look at ${node}${unlessSaid(node, because)}`),
    ...(left.length === 0 ? [] : [`not touched: ${list(left)}`]),
  ];
}
