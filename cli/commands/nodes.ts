import type { SeenNode } from "../../client/index.ts";
import { pause } from "../../service/loop.ts";
import { examples, type CommandModule } from "../command.ts";
import { formatNodes } from "../format/node.ts";
import { print, printJson } from "../format/terminal.ts";
import { withClient } from "../with-client.ts";

/** Every node speaks once in this time, milliseconds: one heartbeat interval and its jitter. */
const ONE_ROUND_MS = 1200;

export const nodes: CommandModule = (program) => {
  program
    .command("nodes")
    .description("the machines of the mesh: load, memory, GPUs, models")
    .option("--json", "as JSON: the whole node records")
    .option("--watch", "again every second until Ctrl-C")
    .addHelpText("after", examples("tiermesh nodes", "tiermesh nodes --watch", "tiermesh nodes --json"))
    .action((flags: { json?: boolean; watch?: boolean }) =>
      withClient(async (client) => {
        client.nodes.list();
        client.nodes.watchConnections();
        do {
          await pause(ONE_ROUND_MS);
          const seen = client.nodes.list();
          if (flags.json === true) printJson(seen.map(toJson));
          else {
            if (flags.watch === true && process.stdout.isTTY) process.stdout.write("\x1b[H\x1b[2J");
            print(
              seen.length === 0 ? "no node sends heartbeats; start an agent with `tiermesh up`" : formatNodes(seen),
            );
          }
        } while (flags.watch === true);
      }),
    );
};

function toJson({ record, state, seenAgoMs }: SeenNode): object {
  return { ...record, state, seen_ago_ms: Math.round(seenAgoMs) };
}
