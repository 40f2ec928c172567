import { EXIT, examples, type CommandModule } from "../command.ts";
import { classOption, queueOption } from "../options.ts";
import { formatDecision } from "../format/decision.ts";
import { print, printJson } from "../format/terminal.ts";
import { withClient } from "../with-client.ts";

interface RouteFlags {
  queue: string;
  class?: string;
  model?: string;
  capability: string[];
  explain?: boolean;
  json?: boolean;
}

export const route: CommandModule = (program) => {
  program
    .command("route")
    .description("where a job would go and why; nothing is run")
    .addOption(queueOption())
    .addOption(classOption())
    .option("--model <name>", "a model by name")
    .option("--capability <name>", "what the model must be able to do; may be given again", collect, [])
    .option("--explain", "each candidate with its scores, or the filter that removed it")
    .option("--json", "the whole decision as JSON")
    .addHelpText(
      "after",
      examples(
        "tiermesh route --explain",
        "tiermesh route --class P0 --model llama3.1-70b --explain",
        "tiermesh route --json",
      ),
    )
    .action((flags: RouteFlags) =>
      withClient(async (client) => {
        const decision = await client.decide({
          task_type: flags.queue,
          ...(flags.class === undefined ? {} : { security_level: flags.class }),
          ...(flags.model === undefined ? {} : { model: flags.model }),
          ...(flags.capability.length === 0 ? {} : { requirements: { capabilities: flags.capability } }),
        });
        if (flags.json === true) printJson(decision);
        else print(flags.explain === true ? formatDecision(decision) : decision.reason);
        process.exitCode = decision.outcome === "routed" ? EXIT.ok : EXIT.failed;
      }),
    );
};

function collect(value: string, previous: string[]): string[] {
  return [...previous, value];
}
