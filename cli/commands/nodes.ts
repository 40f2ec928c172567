import { LAYERS, type SleepEntry } from "../../bus-schemas/index.ts";
import type { SeenNode } from "../../client/index.ts";
import { pause } from "../../service/loop.ts";
import { examples, type CommandModule } from "../command.ts";
import { formatNodes } from "../format/node.ts";
import { note, print, printJson } from "../format/terminal.ts";
import { isMeant, oneMore, oneMoreOf, oneMoreState, wantedLabel, type NodeFilter } from "../nodes/filter.ts";
import { sleepersOf, withSleepers } from "../nodes/sleepers.ts";
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
          const sleepers = await sleepersOf(client.bus).catch(() => {
            note("the machines that sleep cannot be looked up now");
            return new Map<string, SleepEntry>();
          });
          const all = withSleepers(client.nodes.list(), sleepers, Date.now());
          const seen = all.filter((node) => isMeant(node, flags));
          if (flags.json === true) printJson(seen.map((node) => toJson(node, sleepers.get(node.record.node_id))));
          else {
            if (flags.watch === true && process.stdout.isTTY) process.stdout.write("\x1b[H\x1b[2J");
            print(seen.length === 0 ? none(all.length) : formatNodes(seen, sleepers));
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

function toJson({ record, state, seenAgoMs }: SeenNode, sleeper: SleepEntry | undefined): object {
  const node = { ...record, state, seen_ago_ms: Math.round(seenAgoMs) };
  if (state !== "asleep" || sleeper === undefined || record.sleep === null) return node;
  const { failures, last, not_before_unix_ms, ready_in_seconds, wake } = sleeper;
  return { ...node, sleep: { ...record.sleep, ready_in_seconds }, wake, last_wake: last, failures, not_before_unix_ms };
}
