import type { Command } from "commander";
import { MeshError } from "../../bus-schemas/index.ts";
import { newId } from "../../service/ids.ts";
import { pause } from "../../service/loop.ts";
import { EXIT, examples } from "../command.ts";
import { print, printJson } from "../format/terminal.ts";
import { subjectToken } from "../options.ts";
import { isAboutJobs, meshFleet } from "../upgrade/mesh-fleet.ts";
import { rollBackOne } from "../upgrade/one-node.ts";
import { teller } from "../upgrade/report.ts";
import { withClient } from "../with-client.ts";

/** Every node speaks once in this time, milliseconds. */
const ONE_ROUND_MS = 1500;
const LIMITS = { waitSeconds: 60, drainMs: 120_000, settleMs: 120_000 };

/** One node back to the program before its last upgrade; what `tiermesh upgrade` does by itself when health drops. */
export function addRollbackVerb(parent: Command): void {
  parent
    .command("rollback")
    .description("have a node go back to the agent that it ran before its last upgrade; its jobs end first")
    .argument("<node>", "the node's id", subjectToken)
    .option("--json", "as JSON")
    .addHelpText("after", examples("tiermesh node rollback gpu-1", "tiermesh node rollback gpu-1 --json"))
    .action((node: string, flags: { json?: boolean }) =>
      withClient(async (client) => {
        const fleet = await meshFleet(client);
        fleet.nodes();
        await pause(ONE_ROUND_MS);
        const seen = fleet.nodes().find(({ record }) => record.node_id === node);
        if (seen === undefined)
          throw new MeshError("not_found", `no node ${node} is heard; tiermesh nodes shows who is there`, {
            field: "node",
          });
        const tell = flags.json === true ? () => undefined : teller(false);
        const from = seen.record.version;
        const context = { fleet, options: { ...LIMITS, id: newId() }, tell };
        const ended = await rollBackOne(context, { node, from, why: "asked to" });
        const now = fleet.nodes().find(({ record }) => record.node_id === node)?.record.version ?? null;
        const why = ended.end === "unknown" ? ended.why : undefined;
        const ok = why === undefined;
        if (!ok) process.exitCode = EXIT.failed;
        if (flags.json === true) printJson({ node_id: node, ok, from, version: now, ...(ok ? {} : { why }) });
        else if (ok) print(`${node} runs ${now ?? "its former program"} again`);
      }, isAboutJobs),
    );
}
