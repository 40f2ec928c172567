import { Option } from "commander";
import { JOIN_HOURS, LAYERS, type Layer, type NodeEntry } from "../../bus-schemas/index.ts";
import { joinMesh } from "../../agent/membership.ts";
import { fingerprintOf } from "../../agent/invitation.ts";
import { keyFingerprint } from "../../service/access/fingerprint.ts";
import { stateDir } from "../../service/paths.ts";
import { isAsking } from "../bus/asks.ts";
import { examples, type CommandModule } from "../command.ts";
import { table } from "../format/table.ts";
import { note, print, printJson } from "../format/terminal.ts";
import { addAdmitVerbs, hours } from "../nodes/admit-verbs.ts";
import { addCareVerbs } from "../nodes/care-verbs.ts";
import { addDescribeVerbs } from "../nodes/describe-verbs.ts";
import { addInventoryCommand } from "../nodes/inventory-command.ts";
import { addRollbackVerb } from "../nodes/rollback-verb.ts";
import { addNodeVerbs } from "../nodes/verbs.ts";
import { addWakeVerb } from "../nodes/wake.ts";
import { subjectToken } from "../options.ts";
import { addNode, listNodes, revokeNode } from "../registry-client.ts";
import { readSecret } from "../secret-input.ts";
import { withClient } from "../with-client.ts";

export const node: CommandModule = (program) => {
  const command = program.command("node").description("which machines may speak on the bus, and which take jobs");
  command
    .command("add")
    .description("let a machine in: prints a join token, good for one join")
    .argument("<name>", "the node's id in the mesh", subjectToken)
    .addOption(new Option("--layer <layer>", "L0 terminal, L1 server, L2 cloud egress").choices(LAYERS).default("L0"))
    .addOption(
      new Option("--hours <n>", `how long the token is good, at most ${JOIN_HOURS.most}`)
        .default(JOIN_HOURS.usual)
        .argParser(hours),
    )
    .option("--replace", "the node is in the mesh already: its old key is revoked at once")
    .option("--url <url>", "address of the bus as that machine sees it")
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples(
        "tiermesh node add gpu-1 --layer L1",
        "tiermesh node add laptop-7 --hours 1 --url nats://bus.example:4222",
        "tiermesh node add gpu-1 --layer L1 | ssh gpu-1 tiermesh node join -",
      ),
    )
    .action((name: string, flags: { layer: Layer; hours: number; replace?: boolean; url?: string; json?: boolean }) =>
      withClient(async (client) => {
        const { entry, token, urls } = await addNode(client, name, flags.layer, {
          ...flags,
          replace: flags.replace === true,
        });
        if (flags.json === true) return printJson({ ...entry, token, urls });
        print(token);
        note(
          `${name} may join as ${flags.layer} until ${new Date(entry.join_expires_unix_ms ?? 0).toISOString()}, once:`,
        );
        note(`  tiermesh node join <token>      then start its agent; the token is a secret until it was used`);
        if ((flags.url === undefined ? urls : [flags.url]).every(isLoopback))
          note('this bus listens on this machine only; no other can reach it (README, "More than one machine")');
      }),
    );
  command
    .command("join")
    .description("make this machine a node, by a token from `tiermesh node add`, or ask to by a `node invite`")
    .argument("<token>", "the token or invitation, or - to read it from standard input")
    .option("--name <name>", "by an invitation: the name to ask under; default: this machine's", subjectToken)
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples(
        "tiermesh node join tmjoin_…",
        "tiermesh node join - < token.txt",
        "tiermesh node join tminvite_… --name laptop-7    # waits for tiermesh node approve laptop-7",
      ),
    )
    .action(async (argument: string, flags: { name?: string; json?: boolean }) => {
      const member = await joinMesh(await readSecret(argument), stateDir(), flags.name);
      const { node_id, layer, cell, urls, waiting } = member;
      const fingerprint = fingerprintOf(member);
      if (flags.json === true)
        printJson({ node_id, layer, cell, urls, state: waiting === null ? "joined" : "pending", fingerprint });
      else if (waiting !== null) {
        print(`this machine asks to be let in as ${node_id}; fingerprint ${fingerprint}`);
        note(`an operator compares that and says: tiermesh node approve ${node_id}`);
        note("its agent may be started now (tiermesh agent run): it waits for that by itself");
      } else print(`this machine is ${node_id}, ${layer}, of the cell ${cell}; start its agent: tiermesh agent run`);
    });
  command
    .command("revoke")
    .description("take a machine's right to speak: it is cut at once")
    .argument("<name>", "the node's id", subjectToken)
    .option("--reason <text>", "for the record")
    .option("--json", "as JSON")
    .addHelpText("after", examples('tiermesh node revoke laptop-7 --reason "stolen"'))
    .action((name: string, flags: { reason?: string; json?: boolean }) =>
      withClient(async (client) => {
        const entry = await revokeNode(client, name, flags.reason);
        if (flags.json === true) printJson(entry);
        else print(`${name} is revoked; its connections are cut and its key is worth nothing`);
      }),
    );
  command
    .command("list")
    .description("the machines and readers of events that were let in, and those that were shown out")
    .option("--json", "as JSON")
    .addHelpText("after", examples("tiermesh node list"))
    .action((flags: { json?: boolean }) =>
      withClient(async (client) => {
        const entries = await listNodes(client);
        if (flags.json === true) printJson(entries);
        else if (entries.length === 0) print("no machine was let in but the bus's own; see tiermesh node add --help");
        else
          print(
            table([["NODE", "LAYER", "STATE", "SINCE", "BY", "REASON", "HOST", "FINGERPRINT"], ...entries.map(row)]),
          );
      }),
    );
  addAdmitVerbs(command);
  addNodeVerbs(command);
  addWakeVerb(command);
  addCareVerbs(command);
  addRollbackVerb(command);
  addDescribeVerbs(command);
  addInventoryCommand(command);
};

/** A machine that asks is shown as it calls itself, and by the fingerprint that it shows as well. */
function row(entry: NodeEntry): string[] {
  const { node_id, layer, state, changed_unix_ms, by, reason, hostname, public_key: key, reads } = entry;
  const asks = isAsking(entry) ? [hostname ?? "?", keyFingerprint(key ?? "")] : ["", ""];
  const shown = isAsking(entry) ? "pending: asks" : state;
  const what = reads === undefined ? layer : "reader";
  return [node_id, what, shown, new Date(changed_unix_ms).toISOString(), by, reason ?? "", ...asks];
}

function isLoopback(url: string): boolean {
  return /\/\/(127\.|localhost|\[::1\])/.test(url);
}
