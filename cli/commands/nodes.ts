import { LAYERS } from "../../bus-schemas/index.ts";
import type { SeenNode } from "../../client/index.ts";
import { pause } from "../../service/loop.ts";
import { examples, type CommandModule } from "../command.ts";
import { formatNodes } from "../format/node.ts";
import { print, printJson } from "../format/terminal.ts";
import { isMeant, oneMore, oneMoreOf, oneMoreState, wantedLabel, type NodeFilter } from "../nodes/filter.ts";
import { withClient } from "../with-client.ts";

/** Every node speaks once in this time, milliseconds: one heartbeat interval and its jitter. */
const ONE_ROUND_MS = 1200;

interface Flags extends NodeFilter {
  json?: boolean;
  watch?: boolean;
}

export const nodes: CommandModule = (program) => {
  program
    .command("nodes")
    .description("the machines of the mesh: load, memory, GPUs, models")
    .option("--state <state>", "only those in this state: ready, busy, cordoned, degraded, lost …", oneMoreState)
    .option("--layer <layer>", `only those of this layer: ${LAYERS.join(", ")}`, oneMoreOf(LAYERS))
    .option("--label <label>", "only those with this label: KEY=VALUE, or KEY; said twice both count", wantedLabel)
    .option("--model <model>", "only those that have this model", oneMore)
    .option("--profile <profile>", "only those that behave as workstation, server or egress", oneMore)
    .option("--json", "as JSON: the whole node records; with --watch one document each second")
    .option("--watch", "again every second until Ctrl-C")
    .addHelpText(
      "after",
      examples(
        "tiermesh nodes",
        "tiermesh nodes --watch",
        "tiermesh nodes --layer L1 --state degraded --state lost",
        "tiermesh nodes --label site=Berlin --model llama3.2 --json",
      ),
    )
    .action((flags: Flags) =>
      withClient(async (client) => {
        client.nodes.list();
        client.nodes.watchConnections();
        do {
          await pause(ONE_ROUND_MS);
          const all = client.nodes.list();
          const seen = all.filter((node) => isMeant(node, flags));
          if (flags.json === true) printJson(seen.map(toJson));
          else {
            if (flags.watch === true && process.stdout.isTTY) process.stdout.write("\x1b[H\x1b[2J");
            print(seen.length === 0 ? none(all.length) : formatNodes(seen));
          }
        } while (flags.watch === true);
      }),
    );
};

function none(all: number): string {
  return all === 0
    ? "no node sends heartbeats; start an agent with `tiermesh up`"
    : `none of the ${all} nodes is meant by these filters`;
}

function toJson({ record, state, seenAgoMs }: SeenNode): object {
  return { ...record, state, seen_ago_ms: Math.round(seenAgoMs) };
}
