import { createInterface } from "node:readline/promises";
import { InvalidArgumentError, Option, type Command } from "commander";
import { JOIN_HOURS, LAYERS, MeshError, type Layer, type NodeEntry } from "../../bus-schemas/index.ts";
import type { MeshClient } from "../../client/index.ts";
import { keyFingerprint } from "../../service/access/fingerprint.ts";
import { isAsking } from "../bus/asks.ts";
import { examples } from "../command.ts";
import { harmless, note, print, printJson } from "../format/terminal.ts";
import { subjectToken } from "../options.ts";
import { decideAsk, findAsk, invite, listNodes } from "../registry-client.ts";
import { withClient } from "../with-client.ts";
import { label } from "./label.ts";

/** Letting machines in that ask by an invitation (ADR 0026). */
export function addAdmitVerbs(parent: Command): void {
  parent
    .command("invite")
    .description("print an invitation for many machines: each asks by it, and waits for `node approve`")
    .addOption(
      new Option("--layer <layer>", "L0 terminal, L1 server; approve can change it")
        .choices(["L0", "L1"])
        .default("L0"),
    )
    .addOption(
      new Option("--hours <n>", `how long machines may ask by it, at most ${JOIN_HOURS.most}`)
        .default(JOIN_HOURS.usual)
        .argParser(hours),
    )
    .option("--url <url>", "address of the bus as those machines see it")
    .option("--close", "end the invitation that is out; what waits may still be approved")
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples(
        "tiermesh node invite --hours 168 > invitation.txt      # takes the place of the one before",
        "tiermesh node invite --layer L1 --json",
        "tiermesh node invite --close",
      ),
    )
    .action((flags: { layer: "L0" | "L1"; hours: number; url?: string; close?: boolean; json?: boolean }) =>
      withClient(async (client) => {
        if (flags.close === true) {
          await invite(client, null);
          if (flags.json === true) printJson({ closed: true });
          else print("nobody new may ask; what waits may still be approved");
          return;
        }
        const { token, expiresUnixMs } = await invite(client, flags);
        const until = new Date(expiresUnixMs).toISOString();
        if (flags.json === true) return printJson({ token, layer: flags.layer, expires_at: until });
        print(token);
        note(`until ${until} machines may ask by it: tiermesh node join - < invitation.txt, then start their agent`);
        note("they wait until you approve each: tiermesh node list, tiermesh node approve NAME");
      }),
    );
  parent
    .command("approve")
    .description("let a machine in that asked; compare the fingerprint with what that machine shows")
    .argument("<name>", "the name under which it asked", subjectToken)
    .option("--fingerprint <fingerprint>", "what the machine shows; another key is not let in")
    .option("--yes", "do not ask, whatever the fingerprint is")
    .addOption(new Option("--layer <layer>", "another layer than the invitation's").choices(LAYERS))
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples(
        "tiermesh node approve laptop-7",
        "tiermesh node approve laptop-7 --fingerprint 3f2a-9c41-77d0-1b5e-c08f",
        "tiermesh node approve gpu-4 --layer L1 --yes --json",
      ),
    )
    .action(
      (name: string, flags: { fingerprint?: string; yes?: boolean; layer?: Layer; reason?: string; json?: boolean }) =>
        withClient(async (client) => {
          const { public_key: key, hostname, layer } = await findAsk(client, name);
          const shown = keyFingerprint(key);
          if (flags.fingerprint !== undefined && flags.fingerprint.trim().toLowerCase() !== shown)
            throw new MeshError(
              "conflict",
              `the machine that asks as ${name} has the fingerprint ${shown}; not let in`,
              {
                field: "fingerprint",
              },
            );
          const question = `${name}, ${flags.layer ?? layer}, calls its host ${harmless(hostname ?? "nothing")}, fingerprint ${shown}`;
          if (flags.fingerprint === undefined && flags.yes !== true) await confirm(question);
          const entry = await decideAsk(client, name, key, { approve: true, layer: flags.layer });
          if (flags.json === true) printJson({ ...entry, fingerprint: shown });
          else print(`${name} is in, on ${entry.layer}; its agent notices within a minute`);
        }),
    );
  parent
    .command("deny")
    .description("refuse machines that asked; each may come in by `node add` only")
    .argument("[names...]", "the names under which they asked", nameList)
    .option("--all", "every machine that waits now")
    .option("--reason <text>", "for the record, and for the machine", label)
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples(
        'tiermesh node deny laptop-7 --reason "not ours"',
        "tiermesh node deny a b c --json",
        'tiermesh node deny --all --reason "a flood"',
      ),
    )
    .action((names: string[] = [], flags: { all?: boolean; reason?: string; json?: boolean } = {}) =>
      withClient(async (client) => {
        if (names.length > 0 === (flags.all === true))
          throw new MeshError("bad_request", "name the machines, or say --all", { field: "names" });
        const asks = flags.all === true ? (await listNodes(client)).filter(isAsking) : await askNames(client, names);
        if (asks.length === 0 && flags.json !== true) print("no machine asks to be let in");
        for (const { node_id: name, public_key: key } of asks) {
          if (key === null) continue;
          const entry = await decideAsk(client, name, key, { approve: false, reason: flags.reason });
          if (flags.json === true) printJson(entry);
          else print(`${name} is refused`);
        }
      }),
    );
}

/** @throws MeshError `bad_request` when nobody can be asked, `cancelled` when the answer is no */
async function confirm(question: string): Promise<void> {
  if (!process.stdin.isTTY)
    throw new MeshError("bad_request", `${question}: compare it there, then say --fingerprint, or --yes`, {
      field: "fingerprint",
    });
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal
    .question(`${question}\nDoes that machine show the same? [y/N] `)
    .finally(() => terminal.close());
  if (!/^y(es)?$/i.test(answer.trim())) throw new MeshError("cancelled", "not let in; `tiermesh node deny` refuses it");
}

async function askNames(client: MeshClient, names: readonly string[]): Promise<NodeEntry[]> {
  const found: NodeEntry[] = [];
  for (const name of names) found.push(await findAsk(client, name));
  return found;
}

function nameList(text: string, before: string[] = []): string[] {
  return [...before, subjectToken(text)];
}

/** Hours that a token or an invitation is good for. @throws InvalidArgumentError */
export function hours(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= JOIN_HOURS.most))
    throw new InvalidArgumentError(`a number above 0, at most ${JOIN_HOURS.most}`);
  return value;
}
