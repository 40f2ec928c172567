import { Command, CommanderError } from "commander";
import { MeshError } from "../bus-schemas/index.ts";
import { VERSION } from "../service/version.ts";
import { EXIT } from "./command.ts";
import { COMMANDS } from "./commands/index.ts";

const program = new Command("tiermesh")
  .description("Send each AI job to the right machine, prove that it went there, and keep secret data at home.")
  .version(VERSION)
  .showHelpAfterError("(--help shows how)")
  .exitOverride();
for (const add of COMMANDS) add(program);
for (const command of program.commands) inherit(command);

/** Subcommands end by throwing, like the program, so that the exit code is ours. */
function inherit(command: Command): void {
  command.exitOverride().showHelpAfterError("(--help shows how)");
  for (const child of command.commands) inherit(child);
}

// `tiermesh audit tail | head -1`: the reader has what it wanted.
process.stdout.on("error", (error: NodeJS.ErrnoException) =>
  process.exit(error.code === "EPIPE" ? EXIT.ok : EXIT.failed),
);

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  else {
    const known = error instanceof MeshError;
    // Who asked for JSON gets the error as JSON too, beside the words for people.
    if (process.argv.includes("--json"))
      process.stdout.write(`${JSON.stringify({ error: MeshError.from(error).toWire() })}\n`);
    process.stderr.write(
      `tiermesh: ${known ? error.message : error instanceof Error ? (error.stack ?? error.message) : "unexpected error"}\n`,
    );
    process.exitCode = EXIT.failed;
  }
}
