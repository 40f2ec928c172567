import { InvalidArgumentError, type Command } from "commander";
import { MAX_PAUSE_MINUTES, type LocalRequest } from "../../agent/local-control/protocol.ts";
import { print, printJson } from "../format/terminal.ts";
import { subjectToken } from "../options.ts";
import { agentExamples } from "./agent-examples.ts";
import { describeAgent } from "./describe.ts";
import { askLocalAgents } from "./local-agents.ts";
import { showStatus } from "./show-status.ts";

interface Flags {
  node?: string;
  json?: boolean;
}

/** What whoever sits at a machine says to its agent: no bus, no operator's key. */
export function addOwnerVerbs(parent: Command): void {
  verb(parent, "pause", "take this machine back: what runs moves on to other nodes at once, nothing new is taken", [
    "tiermesh agent pause",
    "tiermesh agent pause --minutes 90",
  ])
    .option("--minutes <n>", "for so long; without it until `tiermesh agent resume`", minutes)
    .action((flags: Flags & { minutes?: number }) => say({ command: "pause", minutes: flags.minutes }, flags));
  verb(parent, "snooze", "pause for a while", ["tiermesh agent snooze", "tiermesh agent snooze 15"])
    .argument("[minutes]", "for so long", minutes, 60)
    .action((forMinutes: number, flags: Flags) => say({ command: "pause", minutes: forMinutes }, flags));
  verb(parent, "finish", "let what runs end, then pause", ["tiermesh agent finish"]).action((flags: Flags) =>
    say({ command: "finish" }, flags),
  );
  verb(parent, "resume", "take a pause back; what else stops the agent still does", ["tiermesh agent resume"]).action(
    (flags: Flags) => say({ command: "resume" }, flags),
  );
  verb(parent, "status", "the service, what the agent of this machine does, what stops it and which limits hold", [
    "tiermesh agent status",
    "tiermesh agent status --json",
  ]).action((flags: Flags) => showStatus(flags));
}

function verb(parent: Command, name: string, description: string, shown: string[]): Command {
  return parent
    .command(name)
    .description(description)
    .option("--node <name>", "the agent of this name, where several run on this machine", subjectToken)
    .option("--json", "as JSON")
    .addHelpText("after", agentExamples(...shown));
}

async function say(request: LocalRequest, flags: Flags): Promise<void> {
  const agents = await askLocalAgents(process.env, request, flags.node);
  if (flags.json === true) return printJson(agents);
  print(agents.map(describeAgent).join("\n\n"));
}

function minutes(text: string): number {
  const value = Number(text);
  if (!(value >= 0.01 && value <= MAX_PAUSE_MINUTES))
    throw new InvalidArgumentError(`a number of minutes above 0, at most ${MAX_PAUSE_MINUTES}`);
  return value;
}
