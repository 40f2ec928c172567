import { isSingleExecutable } from "../../agent/entries.ts";
import { examples } from "../command.ts";

/** Examples of `tiermesh agent …`, which the single executable has as a program of its own. */
export function agentExamples(...lines: string[]): string {
  return examples(
    ...(isSingleExecutable ? lines.map((line) => line.replaceAll("tiermesh agent ", "tiermesh-agent ")) : lines),
  );
}
