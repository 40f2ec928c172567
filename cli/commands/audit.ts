import { Option } from "commander";
import { addCompareCommand } from "../audit/compare.ts";
import { addStorageCommands } from "../audit/storage-commands.ts";
import { count, jobId } from "../audit/filter.ts";
import { proveNoEgress, type ProveFlags } from "../audit/prove.ts";
import { addReadCommands } from "../audit/read-commands.ts";
import { receipt, type ReceiptFlags } from "../audit/receipt.ts";
import { addSaltCommands } from "../audit/salts.ts";
import { verify, type VerifyFlags } from "../audit/verify.ts";
import { moment } from "../audit/when.ts";
import { examples, type CommandModule } from "../command.ts";
import { replay, type ReplayFlags } from "../replay/command.ts";

const OFFLINE = "the auditor's folder or a copy of its tlog; this machine's auditor's if not said";
const KEY_FLAG = ["--key <file>", "the log's verifier key as you were given it (the auditor's log-key.pub)"] as const;

export const audit: CommandModule = (program) => {
  const command = program.command("audit").description("the record of what the mesh did");
  addReadCommands(command);
  command
    .command("replay")
    .description(
      "makes recorded decisions again from their records alone: the same, or what differs (then it ends with 1)",
    )
    .argument("[job]", "only this job")
    .option("--file <log>", "a segment of the auditor's log, or its folder; needs no mesh")
    .option("--last <count>", "so many of the newest decisions (20; of a file all)", count)
    .option("--policy <file...>", "texts of policies that neither the log nor the bus has any more", [])
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples(
        "tiermesh audit replay --last 100",
        "tiermesh audit replay 01J8Z3…",
        "tiermesh audit replay --file segment-000001.jsonl --policy routing-2026-03.yaml",
      ),
    )
    .action((job: string | undefined, flags: ReplayFlags) => replay(job, flags));
  command
    .command("verify")
    .description(
      "checks the signed log from its files alone: checkpoint, every tile, every entry (or a receipt); ends with 1 when anything is wrong",
    )
    .option("--offline <folder>", OFFLINE)
    .option(...KEY_FLAG)
    .option("--checkpoint <file...>", "checkpoints of this log that you kept: it must still begin with them", [])
    .addOption(
      new Option("--receipt <file>", "check this .tlog-proof instead; needs no log").conflicts([
        "offline",
        "checkpoint",
        "proof",
      ]),
    )
    .addOption(
      new Option("--proof <file>", "compute this proof of `audit prove` again from the tiles").conflicts("checkpoint"),
    )
    .option("--witness <file...>", "verifier keys of witnesses: their cosignatures are checked and counted", [])
    .addOption(
      new Option("--require <count>", "so many of them must have cosigned (all, if not said)").argParser(count),
    )
    .addOption(
      new Option("--begins <index>", "a copy that begins with this entry on purpose: audit export --from").argParser(
        count,
      ),
    )
    .option("--mldsa <file>", "the log's second verifier key: its ML-DSA-44 signature is required (log-key-mldsa.pub)")
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples(
        "tiermesh audit verify",
        "tiermesh audit verify --witness bank.pub authority.pub --require 1",
        "tiermesh audit verify --offline /mnt/copy/tlog --key log-key.pub --checkpoint checkpoint-of-may",
        "tiermesh audit verify --receipt 01J8Z3….tlog-proof --key log-key.pub",
        "tiermesh audit verify --proof no-p0-egress-may.json --offline /mnt/copy/tlog --key log-key.pub",
      ),
    )
    .action(verify satisfies (flags: VerifyFlags) => void);
  command
    .command("receipt")
    .description("writes a .tlog-proof that the ending of a job is in the signed log; anyone can check it without us")
    .argument("<job>", "the job's id", jobId)
    .option("--offline <folder>", "from this auditor's folder, or a copy of its tlog, instead of the mesh")
    .option(...KEY_FLAG)
    .option("--out <file>", "where to; JOB.tlog-proof in this folder if not said")
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples("tiermesh audit receipt 01J8Z3…", "tiermesh audit receipt 01J8Z3… --out evidence/may.tlog-proof --json"),
    )
    .action(receipt satisfies (job: string, flags: ReceiptFlags) => Promise<void>);
  command
    .command("prove")
    .description("writes a proof about the whole log that others can compute again from its tiles")
    .command("no-p0-egress")
    .description("that no P0 job went to a cloud in that time; ends with 1 when the log shows one that did")
    .option(
      "--from <time>",
      "from this time on: 2026-11-01, 2026-11-01T08:00:00Z, 30d; the whole log if not said",
      (text) => moment(text),
    )
    .option("--to <time>", "before this time; now if not said", (text) => moment(text))
    .option("--offline <folder>", OFFLINE)
    .option(...KEY_FLAG)
    .option("--out <file>", "where to; no-p0-egress-FROM-TO.json in this folder if not said")
    .option("--json", "what it came to as JSON; the proof itself is always a file")
    .addHelpText(
      "after",
      examples(
        "tiermesh audit prove no-p0-egress --from 2026-11-01 --to 2026-12-01 --out november.json",
        "tiermesh audit verify --proof november.json --offline /mnt/copy/tlog --key log-key.pub",
      ),
    )
    .action(proveNoEgress satisfies (flags: ProveFlags) => Promise<void>);
  addCompareCommand(command);
  addStorageCommands(command);
  addSaltCommands(command);
};
