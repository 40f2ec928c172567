import type { Command } from "commander";
import type { ControlRequest } from "../../bus-schemas/index.ts";
import { examples } from "../command.ts";
import { print, printJson } from "../format/terminal.ts";
import { command as order, progressLine } from "../models/order.ts";
import { subjectToken } from "../options.ts";
import { withClient } from "../with-client.ts";
import { label } from "./label.ts";

/** An operator's words about what is ill on a node (docs/agent.md, "When something is ill"). */
export function addCareVerbs(parent: Command): void {
  parent
    .command("restart-runtime")
    .description("restart a runtime that the node's agent manages, and wait until it answers; its jobs go on elsewhere")
    .argument("<node>", "the node's id", subjectToken)
    .argument("<runtime>", "its name in agent.yaml, or as tiermesh model list shows it", subjectToken)
    .option("--reason <text>", "for the record", label)
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples(
        "tiermesh node restart-runtime gpu-1 vllm",
        'tiermesh node restart-runtime gpu-1 vllm --reason "new driver" --json',
      ),
    )
    .action((node: string, runtime: string, flags: { reason?: string; json?: boolean }) =>
      withClient(async (client) => {
        const { reason } = flags;
        const request: ControlRequest = {
          command: "restart-runtime",
          runtime,
          ...(reason === undefined ? {} : { reason }),
        };
        const line = progressLine(runtime);
        const reply = await order(client, node, request, (progress) => line.show(progress)).finally(() => line.end());
        if (flags.json === true) printJson({ ...request, node_id: reply.node_id, ok: reply.ok });
        else print(`${runtime} of ${node} was restarted and answers`);
      }),
    );
  parent
    .command("gpu-well")
    .description("use a sick GPU again: it was reset, replaced, or taken out for good")
    .argument("<node>", "the node's id", subjectToken)
    .argument("[gpu]", "its number, UUID or PCI address; without it all that are sick there")
    .option("--reason <text>", "for the record", label)
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples("tiermesh node gpu-well gpu-1", 'tiermesh node gpu-well gpu-1 0000:65:00.0 --reason "replaced"'),
    )
    .action((node: string, gpu: string | undefined, flags: { reason?: string; json?: boolean }) =>
      withClient(async (client) => {
        const { reason } = flags;
        const request: ControlRequest = {
          command: "gpu-well",
          ...(gpu === undefined ? {} : { gpu }),
          ...(reason === undefined ? {} : { reason }),
        };
        const reply = await order(client, node, request, () => undefined);
        if (flags.json === true) printJson({ ...request, node_id: reply.node_id, ok: reply.ok, status: reply.status });
        else print(`${gpu === undefined ? "the sick GPUs" : `GPU ${gpu}`} of ${node} may be used again`);
      }),
    );
}
