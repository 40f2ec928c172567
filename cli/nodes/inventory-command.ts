import { Option, type Command } from "commander";
import { pause } from "../../service/loop.ts";
import { noteExport } from "../audit/export-note.ts";
import { examples } from "../command.ts";
import { csv } from "../format/csv.ts";
import { printJson } from "../format/terminal.ts";
import { listNodes } from "../registry-client.ts";
import { withClient } from "../with-client.ts";
import { inventory, inventoryRows } from "./inventory.ts";

/** Every node speaks once in this time, milliseconds: one heartbeat interval and its jitter. */
const ONE_ROUND_MS = 1200;

/** What machines there are, for a spreadsheet or an asset database. */
export function addInventoryCommand(parent: Command): void {
  parent
    .command("inventory")
    .description("every machine that was let in or is heard, with what it is made of")
    .addOption(new Option("--format <format>", "how it is written").choices(["csv", "json"]).default("csv"))
    .option("--json", "the same as --format json")
    .addHelpText("after", examples("tiermesh node inventory > machines.csv", "tiermesh node inventory --format json"))
    .action((flags: { format: "csv" | "json"; json?: boolean }) =>
      withClient(async (client) => {
        client.nodes.list();
        client.nodes.watchConnections();
        const [entries] = await Promise.all([listNodes(client), pause(ONE_ROUND_MS)]);
        const items = inventory(entries, client.nodes.list());
        if (flags.json === true || flags.format === "json") printJson(items);
        // With the mark by which Excel knows UTF-8; names are in any language.
        else process.stdout.write(`\uFEFF${csv(inventoryRows(items))}`);
        await noteExport(client, { kind: "inventory", what: "machines", count: items.length });
      }),
    );
}
