import { InvalidArgumentError } from "commander";
import { examples, type CommandModule } from "../command.ts";
import { subjectToken } from "../options.ts";
import { set, show, unset } from "../quality.ts";
import { withClient } from "../with-client.ts";

const JSON_FLAG = ["--json", "as JSON"] as const;
const MODEL = ["<model>", "its name, as `tiermesh nodes` shows it", modelName] as const;
const TASK = ["<task>", "a task queue, such as chat", subjectToken] as const;

export const quality: CommandModule = (program) => {
  const command = program
    .command("quality")
    .description("how well models do each task type, which routers count in the capability term");
  command
    .command("show")
    .description("the entries, who says so, and what a model without one has")
    .argument("[model]", "only this model", modelName)
    .option(...JSON_FLAG)
    .addHelpText("after", examples("tiermesh quality show", "tiermesh quality show qwen2.5:7b"))
    .action((model: string | undefined, flags: { json?: boolean }) =>
      withClient((client) => show(client, model, flags)),
    );
  command
    .command("set")
    .description("gives a model a score at a task type; every router counts it within a second")
    .argument(...MODEL)
    .argument(...TASK)
    .argument("<score>", "0 (useless) to 1 (as good as it gets)", ratio)
    .option("--samples <count>", "ratings behind it", samples, 0)
    .option("--source <text>", "who or what says so", label)
    .option(...JSON_FLAG)
    .addHelpText(
      "after",
      examples(
        "tiermesh quality set qwen2.5:7b chat 0.82",
        'tiermesh quality set llama3.1-70b rag 0.91 --samples 400 --source "evaluation 2026-11"',
      ),
    )
    .action(
      (model: string, taskType: string, score: number, flags: { samples: number; source?: string; json?: boolean }) =>
        withClient((client) => set(client, { model, taskType }, score, flags)),
    );
  command
    .command("unset")
    .description("takes a score back: the default counts again")
    .argument(...MODEL)
    .argument(...TASK)
    .option(...JSON_FLAG)
    .addHelpText("after", examples("tiermesh quality unset qwen2.5:7b chat"))
    .action((model: string, taskType: string, flags: { json?: boolean }) =>
      withClient((client) => unset(client, { model, taskType }, flags)),
    );
};

function modelName(text: string): string {
  if (text === "" || text.length > 200) throw new InvalidArgumentError("1 to 200 characters");
  return text;
}

function ratio(text: string): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (!(value >= 0 && value <= 1)) throw new InvalidArgumentError("a number from 0 to 1");
  return value;
}

function samples(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) throw new InvalidArgumentError("a whole number from 0");
  return value;
}

function label(text: string): string {
  if (text.trim() === "" || text.length > 200 || /\p{Cc}/u.test(text))
    throw new InvalidArgumentError("one line of 1 to 200 characters");
  return text;
}
