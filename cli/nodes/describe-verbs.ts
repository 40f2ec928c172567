import type { Command } from "commander";
import { examples } from "../command.ts";
import { print, printJson } from "../format/terminal.ts";
import { command as order } from "../models/order.ts";
import { subjectToken } from "../options.ts";
import { withClient } from "../with-client.ts";
import { label, labelChange, type LabelChanges } from "./label.ts";

/** What a node is called, and its labels: kept by its agent, told in each heartbeat. */
export function addDescribeVerbs(parent: Command): void {
  parent
    .command("rename")
    .description("call a node something that people know; its id stays, for its key and its record hang on that")
    .argument("<node>", "the node's id", subjectToken)
    .argument("[name]", "what it is called; without it by its id again", label)
    .option("--json", "as JSON")
    .addHelpText("after", examples('tiermesh node rename laptop-7 "Ada\'s laptop"', "tiermesh node rename laptop-7"))
    .action((node: string, name: string | undefined, flags: { json?: boolean }) =>
      withClient(async (client) => {
        const { node_id } = await order(client, node, { command: "describe", name: name ?? null }, () => undefined);
        if (flags.json === true) printJson({ node_id, name: name ?? null });
        else print(`${node} is called ${name ?? "by its id again"}`);
      }),
    );
  parent
    .command("label")
    .description("set labels of a node, for `tiermesh nodes --label` and for whoever reads its heartbeats")
    .argument("<node>", "the node's id", subjectToken)
    .argument("<labels...>", "KEY=VALUE sets one, KEY- takes it away; others stay", labelChange)
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples("tiermesh node label gpu-1 site=Berlin rack=7", "tiermesh node label gpu-1 rack- --json"),
    )
    .action((node: string, labels: LabelChanges, flags: { json?: boolean }) =>
      withClient(async (client) => {
        const { node_id } = await order(client, node, { command: "describe", labels }, () => undefined);
        if (flags.json === true) printJson({ node_id, labels });
        else {
          const said = Object.entries(labels).map(([key, value]) => (value === null ? `no ${key}` : `${key}=${value}`));
          print(`labels of ${node}: ${said.join(", ")}`);
        }
      }),
    );
}
