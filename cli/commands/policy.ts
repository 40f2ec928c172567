import { InvalidArgumentError, type Command } from "commander";
import { examples, type CommandModule } from "../command.ts";
import { apply, rollback } from "../policy/apply.ts";
import { diff, history, show } from "../policy/look.ts";
import { test } from "../policy/test-policy.ts";
import { withClient } from "../with-client.ts";

const JSON_FLAG = ["--json", "as JSON"] as const;
const NOTE_FLAG = ["--note <text>", "why, for the history", note] as const;

export const policy: CommandModule = (program) => {
  const command = program
    .command("policy")
    .description("the routing policy and model registry that all routers decide by");
  command
    .command("apply")
    .description("makes FILE the policy of all routers, as a new revision; - reads standard input")
    .argument("<file>", "a routing file, such as deploy/routing.yaml")
    .option(...NOTE_FLAG)
    .option("--if-revision <n>", "only if this revision is still the newest", revision)
    .option(...JSON_FLAG)
    .addHelpText(
      "after",
      examples(
        'tiermesh policy apply routing.yaml --note "more retries"',
        "tiermesh policy apply routing.yaml --if-revision 7",
      ),
    )
    .action((file: string, flags: { note?: string; ifRevision?: number; json?: boolean }) =>
      withClient((client) => apply(client, file, flags)),
    );
  command
    .command("show")
    .description("the policy in force with its revision, and which router uses which; the output is a routing file")
    .option("--revision <n>", "this revision instead", revision)
    .option(...JSON_FLAG)
    .addHelpText("after", examples("tiermesh policy show", "tiermesh policy show --revision 3 > old.yaml"))
    .action((flags: { revision?: number; json?: boolean }) => withClient((client) => show(client, flags)));
  compareCommand(command);
  command
    .command("history")
    .description("the revisions that the bus keeps (64), newest first: when, who, why")
    .option(...JSON_FLAG)
    .addHelpText("after", examples("tiermesh policy history"))
    .action((flags: { json?: boolean }) => withClient((client) => history(client, flags)));
  command
    .command("rollback")
    .description("makes an older revision's text the newest revision")
    .argument("<revision>", "its number", revision)
    .option(...NOTE_FLAG)
    .option(...JSON_FLAG)
    .addHelpText("after", examples("tiermesh policy rollback 6"))
    .action((to: number, flags: { note?: string; json?: boolean }) =>
      withClient((client) => rollback(client, to, flags)),
    );
  command
    .command("test")
    .description("checks FILE, then decides recent jobs again by it and by the policy in force: what would change?")
    .argument("<file>", "a routing file; - reads standard input")
    .option("-n, --jobs <count>", "how many recent decisions", jobs, 200)
    .option("--no-replay", "only check the file; needs no mesh")
    .option(...JSON_FLAG)
    .addHelpText(
      "after",
      examples("tiermesh policy test routing.yaml", "tiermesh policy test routing.yaml --no-replay"),
    )
    .action((file: string, flags: { jobs: number; replay: boolean; json?: boolean }) => test(file, flags));
};

function compareCommand(command: Command): void {
  command
    .command("diff")
    .description("settings that differ: between the newest two revisions, between A and the newest, or between A and B")
    .argument("[a]", "a revision, or a file")
    .argument("[b]", "a revision, or a file")
    .option(...JSON_FLAG)
    .addHelpText(
      "after",
      examples("tiermesh policy diff", "tiermesh policy diff routing.yaml", "tiermesh policy diff 3 5") +
        "\n\nA file alone is compared with the policy in force: what would `policy apply` change?",
    )
    .action((a: string | undefined, b: string | undefined, flags: { json?: boolean }) =>
      withClient((client) => diff(client, a, b, flags)),
    );
}

function revision(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new InvalidArgumentError("a revision is a whole number from 1");
  return Number(text);
}

function jobs(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 1000)
    throw new InvalidArgumentError("a whole number from 1 to 1000");
  return value;
}

function note(text: string): string {
  if (text.trim() === "" || text.length > 200 || /\p{Cc}/u.test(text))
    throw new InvalidArgumentError("one line of 1 to 200 characters");
  return text;
}
