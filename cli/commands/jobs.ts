import { InvalidArgumentError, Option } from "commander";
import { DURABLE_STATES, type DurableState } from "../../bus-schemas/index.ts";
import { withCaller } from "../caller-options.ts";
import { examples, type CommandModule } from "../command.ts";
import { add, cancel, drop, requeue, type AddFlags } from "../jobs/act.ts";
import { dead, list, show } from "../jobs/look.ts";
import { classOption, seconds, subjectToken } from "../options.ts";
import { withClient } from "../with-client.ts";

const JSON_FLAG = ["--json", "as JSON"] as const;
const QUEUE_FLAG = ["--queue <name>", "only this task queue", subjectToken] as const;
const LIMIT_FLAG = ["-n, --limit <count>", "so many at most", limit, 100] as const;

export const jobs: CommandModule = (program) => {
  const command = program
    .command("jobs")
    .description("durable jobs: queues that survive whatever dies, their jobs and their dead letters");
  withCaller(
    command
      .command("add")
      .description("puts a job in a queue; the broker keeps it until it has ended")
      .argument("<prompt>", "the prompt; - reads it from standard input")
      .addOption(new Option("--queue <name>", "task queue").default("rag").argParser(subjectToken))
      .addOption(classOption())
      .option("--model <name>", "a model by name; without one any that fits")
      .option("--key <text>", "idempotency key: the same key with the same job again is no second job")
      .option("--timeout <seconds>", "it ends after this time, whatever happens; without it a day", seconds),
  )
    .option("--wait", "wait for its end and print the answer")
    .option(...JSON_FLAG)
    .addHelpText(
      "after",
      examples(
        'tiermesh jobs add --class P1 "Summarise the minutes of May"',
        'tiermesh jobs add --queue media --key poster-7 --wait "A poster"',
      ),
    )
    .action((prompt: string, flags: AddFlags) => withClient((client) => add(client, prompt, flags)));
  command
    .command("list")
    .description("how full each queue is, and its jobs; those that ended as long as they are kept")
    .option(...QUEUE_FLAG)
    .addOption(new Option("--state <state>", "only jobs in this state").choices(DURABLE_STATES))
    .option(...LIMIT_FLAG)
    .option(...JSON_FLAG)
    .addHelpText("after", examples("tiermesh jobs list", "tiermesh jobs list --queue rag --state running"))
    .action((flags: { queue?: string; state?: DurableState; limit: number; json?: boolean }) =>
      withClient((client) => list(client, flags)),
    );
  command
    .command("show")
    .description("one job: where it is, how often it was tried, why it failed")
    .argument("<id>", "its id", subjectToken)
    .option("--content", "also the job and its answer, which takes an operator's key")
    .option(...JSON_FLAG)
    .addHelpText("after", examples("tiermesh jobs show 01M8AH70072JD2TFHDJCKR62CB"))
    .action((id: string, flags: { content?: boolean; json?: boolean }) =>
      withClient((client) => show(client, id, flags)),
    );
  command
    .command("cancel")
    .description("takes a job back, whether it waits or runs")
    .argument("<id>", "its id", subjectToken)
    .option(...JSON_FLAG)
    .addHelpText("after", examples("tiermesh jobs cancel 01M8AH70072JD2TFHDJCKR62CB"))
    .action((id: string, flags: { json?: boolean }) => withClient((client) => cancel(client, id, flags)));
  command
    .command("dead")
    .description("dead letters: jobs that failed for good, and what was in a queue and no job")
    .option(...QUEUE_FLAG)
    .option(...LIMIT_FLAG)
    .option(...JSON_FLAG)
    .addHelpText("after", examples("tiermesh jobs dead", "tiermesh jobs dead --queue media --json"))
    .action((flags: { queue?: string; limit: number; json?: boolean }) => withClient((client) => dead(client, flags)));
  command
    .command("requeue")
    .description("sends a dead job back to its queue, with as much time as it had; or all of a queue")
    .argument("[id]", "its id", subjectToken)
    .option("--queue <name>", "all dead jobs of this queue", subjectToken)
    .option(...JSON_FLAG)
    .addHelpText(
      "after",
      examples("tiermesh jobs requeue 01M8AH70072JD2TFHDJCKR62CB", "tiermesh jobs requeue --queue rag"),
    )
    .action((id: string | undefined, flags: { queue?: string; json?: boolean }) =>
      withClient((client) => requeue(client, id, flags)),
    );
  command
    .command("drop")
    .description("throws a dead letter away")
    .argument("<id>", "its id", subjectToken)
    .option(...JSON_FLAG)
    .addHelpText("after", examples("tiermesh jobs drop stray-17"))
    .action((id: string, flags: { json?: boolean }) => withClient((client) => drop(client, id, flags)));
};

function limit(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 1000)
    throw new InvalidArgumentError("a whole number from 1 to 1000");
  return value;
}
