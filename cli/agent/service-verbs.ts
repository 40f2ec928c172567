import { InvalidArgumentError, type Command } from "commander";
import { EXIT, examples } from "../command.ts";
import { AGENT_CHECKS } from "../doctor/agent-checks.ts";
import { runChecks } from "../doctor/run.ts";
import { installedEnv, placeOf } from "./place.ts";

/** The installed service. */
export function addServiceVerbs(parent: Command): void {
  parent
    .command("logs")
    .description("the installed agent's log")
    .option("--lines <n>", "so many of the last lines", lines, 50)
    .option("--follow", "go on until Ctrl-C")
    .addHelpText("after", examples("tiermesh-agent logs", "tiermesh-agent logs --follow"))
    .action(async (flags: { lines: number; follow?: boolean }) => {
      const { layout, machine, manager } = placeOf();
      const { program, args } = manager.logs(layout, { lines: flags.lines, follow: flags.follow === true });
      process.exitCode = (await machine.show(program, args)) === 0 ? EXIT.ok : EXIT.failed;
    });
  parent
    .command("doctor")
    .description("look for what keeps this machine's agent from working, and say what to do")
    .option("--json", "as JSON")
    .addHelpText("after", examples("sudo tiermesh-agent doctor", "tiermesh-agent doctor --json"))
    .action(async (flags: { json?: boolean }) => {
      process.exitCode = await runChecks(AGENT_CHECKS, installedEnv(placeOf()), flags.json === true);
    });
}

function lines(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 100_000)
    throw new InvalidArgumentError("a whole number from 1 to 100000");
  return value;
}
