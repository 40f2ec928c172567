import type { Command } from "commander";
import type { ControlRequest } from "../../bus-schemas/index.ts";
import { examples } from "../command.ts";
import { print, printJson } from "../format/terminal.ts";
import { command as order } from "../models/order.ts";
import { subjectToken } from "../options.ts";
import { withClient } from "../with-client.ts";
import { label } from "./label.ts";

interface Verb {
  name: "cordon" | "drain" | "suspend" | "resume";
  description: string;
  /** What is printed when it is done. */
  done: string;
  examples: string[];
}

const VERBS: readonly Verb[] = [
  {
    name: "cordon",
    description: "give a node nothing new; what it has goes on there",
    done: "takes nothing new",
    examples: ['tiermesh node cordon gpu-1 --reason "new disk at noon"'],
  },
  {
    name: "drain",
    description: "let a node end what it has and take nothing new, before it is stopped",
    done: "ends what it has and takes nothing new",
    examples: ["tiermesh node drain gpu-1", "tiermesh node drain gpu-1 --json"],
  },
  {
    name: "suspend",
    description: "take a node out at once: what it runs moves on to others",
    done: "takes nothing; what it ran goes on elsewhere",
    examples: ['tiermesh node suspend laptop-7 --reason "a talk is given on it"'],
  },
  {
    name: "resume",
    description: "take cordon, drain or suspend back; what its owner set still counts",
    done: "takes jobs again, if its owner's limits let it",
    examples: ["tiermesh node resume gpu-1"],
  },
];

/** An operator's words about one node; they outlive its restart. */
export function addNodeVerbs(parent: Command): void {
  for (const { name, description, done, examples: shown } of VERBS) {
    const command = parent
      .command(name)
      .description(description)
      .argument("<node>", "the node's id", subjectToken)
      .option("--json", "as JSON")
      .addHelpText("after", examples(...shown));
    if (name !== "resume") command.option("--reason <text>", "for who asks why; it is in its heartbeats", label);
    command.action((node: string, flags: { reason?: string; json?: boolean }) =>
      withClient(async (client) => {
        const { reason } = flags;
        const request: ControlRequest =
          name === "resume" || reason === undefined ? { command: name } : { command: name, reason };
        const reply = await order(client, node, request, () => undefined);
        if (flags.json === true) printJson({ ...request, node_id: reply.node_id, ok: reply.ok, status: reply.status });
        else print(`${node} ${done}`);
      }),
    );
  }
}
