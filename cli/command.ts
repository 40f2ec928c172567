import type { Command } from "commander";

/** A command of `tiermesh`: one file that adds itself to the program, one line in commands/index.ts. */
export type CommandModule = (program: Command) => void;

/** Exit codes: 0 done, 1 the mesh said no or something failed, 2 wrong usage. */
export const EXIT = { ok: 0, failed: 1, usage: 2 } as const;

/** Adds examples below a command's `--help`. */
export function examples(...lines: string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ ${line}`).join("\n")}`;
}
