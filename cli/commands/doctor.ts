import { examples, type CommandModule } from "../command.ts";
import { CHECKS } from "../doctor/index.ts";
import { runChecks } from "../doctor/run.ts";

export const doctor: CommandModule = (program) => {
  program
    .command("doctor")
    .description("look for what keeps the mesh from working, and say what to do")
    .option("--json", "as JSON")
    .addHelpText("after", examples("tiermesh doctor", "tiermesh doctor --json"))
    .action(async (flags: { json?: boolean }) => {
      process.exitCode = await runChecks(CHECKS, process.env, flags.json === true);
    });
};
