import type { SleepEntry } from "../../bus-schemas/index.ts";
import type { SeenNode } from "../../client/index.ts";
import { pause } from "../../service/loop.ts";
import { examples, type CommandModule } from "../command.ts";
import { formatNodes } from "../format/node.ts";
import { note, print, printJson } from "../format/terminal.ts";
import { sleepersOf, withSleepers } from "../nodes/sleepers.ts";
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
          const sleepers = await sleepersOf(client.bus).catch(() => {
            note("the machines that sleep cannot be looked up now");
            return new Map<string, SleepEntry>();
          });
          const seen = withSleepers(client.nodes.list(), sleepers, Date.now());
          if (flags.json === true) printJson(seen.map((node) => toJson(node, sleepers.get(node.record.node_id))));
          else {
            if (flags.watch === true && process.stdout.isTTY) process.stdout.write("\x1b[H\x1b[2J");
            print(
              seen.length === 0
                ? "no node sends heartbeats; start an agent with `tiermesh up`"
                : formatNodes(seen, sleepers),
            );
          }
        } while (flags.watch === true);
      }),
    );
};

function toJson({ record, state, seenAgoMs }: SeenNode, sleeper: SleepEntry | undefined): object {
  const node = { ...record, state, seen_ago_ms: Math.round(seenAgoMs) };
  if (state !== "asleep" || sleeper === undefined || record.sleep === null) return node;
  const { failures, last, not_before_unix_ms, ready_in_seconds, wake } = sleeper;
  return { ...node, sleep: { ...record.sleep, ready_in_seconds }, wake, last_wake: last, failures, not_before_unix_ms };
}
