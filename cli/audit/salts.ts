import type { Command } from "commander";
import { SaltKeeper } from "../../service/salts.ts";
import { saltsDir } from "../../service/paths.ts";
import { EXIT, examples } from "../command.ts";
import { harmless, note, print, printJson } from "../format/terminal.ts";
import { readGiven } from "./log-folder.ts";

interface SaltFlags {
  salts?: string;
  json?: boolean;
}

const SALTS_FLAG = [
  "--salts <folder>",
  "where the salts are; `salts` in this machine's state folder if not said",
] as const;

/** `audit commitment`, `audit pseudonym` and `audit erase`. */
export function addSaltCommands(audit: Command): void {
  audit
    .command("commitment")
    .description(
      "the salted commitment of a file's content for a subject; with --matches whether it is that one (else it ends with 1)",
    )
    .argument("<subject>", "a person or a customer, by whatever name you use")
    .argument("<file>", "the content")
    .option("--matches <commitment>", "compare with this one; no salt is made")
    .option(...SALTS_FLAG)
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples(
        "tiermesh audit commitment customer-4711 question.txt",
        "tiermesh audit commitment customer-4711 question.txt --matches hmac-sha256:9f2c…",
      ),
    )
    .action(commitment);
  audit
    .command("pseudonym")
    .description("what stands for a subject in the record where callers are told by pseudonyms; no salt is made")
    .argument("<subject>", "as the gateway or the client named the caller")
    .option(...SALTS_FLAG)
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples("tiermesh audit pseudonym alice", 'tiermesh audit query --caller "$(tiermesh audit pseudonym alice)"'),
    )
    .action(pseudonym);
  audit
    .command("erase")
    .description(
      "destroys a subject's salt: its commitments in the log stay, and say nothing any more; the log still verifies",
    )
    .argument("<subject>", "as in `audit commitment`")
    .option(...SALTS_FLAG)
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples("tiermesh audit erase customer-4711") +
        "\n\nIt cannot be taken back. Copies in backups and what a disk keeps by itself are yours to see to.",
    )
    .action(erase);
}

async function commitment(subject: string, file: string, flags: SaltFlags & { matches?: string }): Promise<void> {
  const content = readGiven(file);
  const keeper = keeperOf(flags);
  if (flags.matches === undefined) {
    const made = await keeper.commit(subject, content);
    return flags.json === true ? printJson({ subject, commitment: made }) : print(made);
  }
  const matches = await keeper.matches(subject, content, flags.matches);
  if (matches !== true) process.exitCode = EXIT.failed;
  if (flags.json === true) return printJson({ subject, matches: matches ?? null });
  if (matches === undefined)
    print(`no salt of ${harmless(subject)} here: it was erased, or is elsewhere; nobody can tell`);
  else print(matches ? "it is the content of this commitment" : "it is not the content of this commitment");
}

async function pseudonym(subject: string, flags: SaltFlags): Promise<void> {
  const found = await keeperOf(flags).findPseudonym(subject);
  if (found === undefined) process.exitCode = EXIT.failed;
  if (flags.json === true) return printJson({ subject, pseudonym: found ?? null });
  if (found === undefined)
    return note(`no salt of ${harmless(subject)} here: no job named it, it was erased, or --salts names the folder`);
  print(found);
}

async function erase(subject: string, flags: SaltFlags): Promise<void> {
  const erased = await keeperOf(flags).erase(subject);
  if (!erased) process.exitCode = EXIT.failed;
  if (flags.json === true) return printJson({ subject, erased });
  if (!erased)
    return note(`no salt of ${harmless(subject)} here; it may be on another machine (--salts names a folder)`);
  print(`the salt of ${harmless(subject)} is destroyed: no commitment made with it can be checked any more`);
}

function keeperOf({ salts }: SaltFlags): SaltKeeper {
  return new SaltKeeper(salts ?? saltsDir());
}
