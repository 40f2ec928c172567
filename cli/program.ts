import { CommanderError, type Command } from "commander";
import { MeshError } from "../bus-schemas/index.ts";
import { EXIT } from "./command.ts";

/** Runs the command that this process was started with: errors in words for people and, where JSON was asked for, as JSON too. */
export async function runProgram(program: Command): Promise<void> {
  inherit(program);
  // `tiermesh audit tail | head -1`: the reader has what it wanted.
  process.stdout.on("error", (error: NodeJS.ErrnoException) =>
    process.exit(error.code === "EPIPE" ? EXIT.ok : EXIT.failed),
  );
  try {
    await program.parseAsync();
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
      return;
    }
    const known = error instanceof MeshError;
    if (process.argv.includes("--json"))
      process.stdout.write(`${JSON.stringify({ error: MeshError.from(error).toWire() })}\n`);
    process.stderr.write(
      `${program.name()}: ${known ? error.message : error instanceof Error ? (error.stack ?? error.message) : "unexpected error"}\n`,
    );
    process.exitCode = EXIT.failed;
  }
}

/** Subcommands end by throwing, like the program, so that the exit code is ours. */
function inherit(command: Command): void {
  command.exitOverride().showHelpAfterError("(--help shows how)");
  for (const child of command.commands) inherit(child);
}
