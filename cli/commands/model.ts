import { InvalidArgumentError } from "commander";
import { ModelName, type ModelCommand } from "../../bus-schemas/index.ts";
import { examples, type CommandModule } from "../command.ts";
import { print, printJson } from "../format/terminal.ts";
import { formatModels, listModels } from "../models/list.ts";
import { command as order, progressLine } from "../models/order.ts";
import { subjectToken } from "../options.ts";
import { withClient } from "../with-client.ts";

interface Verb {
  name: string;
  command: ModelCommand;
  description: string;
  /** What is printed when it is done. */
  done: (model: string, node: string) => string;
  examples: string[];
}

const VERBS: readonly Verb[] = [
  {
    name: "load",
    command: "load-model",
    description: "gets a model into memory, where its runtime lets others do that, and keeps it there",
    done: (model, node) => `${model} is in memory on ${node}`,
    examples: ["tiermesh model load gpu-1 llama3.2:3b", "tiermesh model load gpu-1 qwen3 --runtime ollama --json"],
  },
  {
    name: "unload",
    command: "unload-model",
    description: "takes a model out of memory; its file stays",
    done: (model, node) => `${model} is out of the memory of ${node}`,
    examples: ["tiermesh model unload gpu-1 llama3.2:3b"],
  },
  {
    name: "pull",
    command: "pull",
    description: "has a runtime of the node download a model; goes on there when this command is interrupted",
    done: (model, node) => `${model} is on the disk of ${node}`,
    examples: [
      "tiermesh model pull gpu-1 llama3.2:3b",
      "tiermesh model pull mac-7 qwen/qwen3-4b-2507 --runtime lm-studio",
    ],
  },
];

export const model: CommandModule = (program) => {
  const command = program
    .command("model")
    .description("the models of the nodes: what is there, and load, unload, pull");
  command
    .command("list")
    .description("the models of the mesh, or of one node: loaded or not, size, GPU memory, what they can")
    .argument("[node]", "the node's id", subjectToken)
    .option("--json", "as JSON")
    .addHelpText("after", examples("tiermesh model list", "tiermesh model list gpu-1 --json"))
    .action((node: string | undefined, flags: { json?: boolean }) =>
      withClient(async (client) => {
        const models = await listModels(client, node);
        if (flags.json === true) printJson(models);
        else print(models.length === 0 ? "no models; tiermesh model pull NODE MODEL gets one" : formatModels(models));
      }),
    );
  for (const verb of VERBS) addVerb(command, verb);
};

function addVerb(parent: ReturnType<Parameters<CommandModule>[0]["command"]>, verb: Verb): void {
  parent
    .command(verb.name)
    .description(verb.description)
    .argument("<node>", "the node's id", subjectToken)
    .argument("<model>", "the model, as the node's runtime spells it", modelName)
    .option("--runtime <name>", "where several runtimes of the node could do it", subjectToken)
    .option("--json", "as JSON")
    .addHelpText("after", examples(...verb.examples))
    .action((node: string, name: string, flags: { runtime?: string; json?: boolean }) =>
      withClient(async (client) => {
        const request = { command: verb.command, model: name };
        const line = progressLine(name);
        const show = flags.json === true ? () => undefined : line.show;
        const { runtime } = flags;
        const done = order(client, node, runtime === undefined ? request : { ...request, runtime }, show);
        const reply = await done.finally(() => line.end());
        if (flags.json === true) printJson({ ...request, node_id: reply.node_id, ok: reply.ok });
        else print(verb.done(name, node));
      }),
    );
}

function modelName(text: string): string {
  if (!ModelName.safeParse(text).success) throw new InvalidArgumentError("1 to 200 characters");
  return text;
}
