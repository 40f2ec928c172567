import { InvalidArgumentError, Option } from "commander";
import { EVENT_TYPES, JobId, type AuditEntry, type AuditQueryInput, type EventType } from "../../bus-schemas/index.ts";
import type { MeshClient } from "../../client/index.ts";
import { pause } from "../../service/loop.ts";
import { receipt, type ReceiptFlags } from "../audit/receipt.ts";
import { addSaltCommands } from "../audit/salts.ts";
import { verify, type VerifyFlags } from "../audit/verify.ts";
import { queryAudit } from "../audit-client.ts";
import { examples, type CommandModule } from "../command.ts";
import { auditLine } from "../format/audit.ts";
import { print } from "../format/terminal.ts";
import { replay, type ReplayFlags } from "../replay/command.ts";
import { withClient } from "../with-client.ts";

interface TailFlags {
  job?: string;
  type?: EventType;
  lines: number;
  follow?: boolean;
  json?: boolean;
}

/** How often `--follow` asks for what is new, milliseconds. */
const FOLLOW_EVERY_MS = 500;

const OFFLINE = "the auditor's folder or a copy of its tlog; this machine's auditor's if not said";
const KEY_FLAG = ["--key <file>", "the log's verifier key as you were given it (the auditor's log-key.pub)"] as const;

export const audit: CommandModule = (program) => {
  const command = program.command("audit").description("the record of what the mesh did");
  command
    .command("tail")
    .description("the newest entries of the audit log, oldest first")
    .option("--job <id>", "only this job")
    .option("--type <type>", `only this type: ${EVENT_TYPES.join(", ")}`, eventType)
    .option("-n, --lines <count>", "how many entries", count, 20)
    .option("-f, --follow", "go on with what comes, until Ctrl-C")
    .option("--json", "one JSON entry a line, with all its data")
    .addHelpText(
      "after",
      examples(
        "tiermesh audit tail",
        "tiermesh audit tail --follow --type job_decided --json",
        "tiermesh audit tail --job 01J8Z3…",
      ),
    )
    .action((flags: TailFlags) =>
      withClient(async (client) => {
        const filter = {
          ...(flags.job === undefined ? {} : { job_id: flags.job }),
          ...(flags.type === undefined ? {} : { type: flags.type }),
        };
        let next = await show(client, { ...filter, limit: flags.lines }, flags.json === true);
        while (flags.follow === true) {
          await pause(FOLLOW_EVERY_MS);
          next = await show(client, { ...filter, after_sequence: next, limit: 1000 }, flags.json === true);
        }
      }),
    );
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
      ]),
    )
    .option("--witness <file...>", "verifier keys of witnesses: their cosignatures are checked and counted", [])
    .addOption(
      new Option("--require <count>", "so many of them must have cosigned (all, if not said)").argParser(count),
    )
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples(
        "tiermesh audit verify",
        "tiermesh audit verify --witness bank.pub authority.pub --require 1",
        "tiermesh audit verify --offline /mnt/copy/tlog --key log-key.pub --checkpoint checkpoint-of-may",
        "tiermesh audit verify --receipt 01J8Z3….tlog-proof --key log-key.pub",
      ),
    )
    .action(verify satisfies (flags: VerifyFlags) => void);
  command
    .command("receipt")
    .description("writes a .tlog-proof that the ending of a job is in the signed log; anyone can check it without us")
    .argument("<job>", "the job's id", jobId)
    .option("--offline <folder>", OFFLINE)
    .option(...KEY_FLAG)
    .option("--out <file>", "where to; JOB.tlog-proof in this folder if not said")
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples("tiermesh audit receipt 01J8Z3…", "tiermesh audit receipt 01J8Z3… --out evidence/may.tlog-proof --json"),
    )
    .action(receipt satisfies (job: string, flags: ReceiptFlags) => void);
  addSaltCommands(command);
};

async function show(client: MeshClient, query: AuditQueryInput, json: boolean): Promise<number> {
  const page = await queryAudit(client, query);
  for (const entry of page.events) print(json ? JSON.stringify(entry satisfies AuditEntry) : auditLine(entry));
  return page.next;
}

function eventType(text: string): EventType {
  const known = EVENT_TYPES.find((type) => type === text);
  if (known === undefined) throw new InvalidArgumentError(`one of ${EVENT_TYPES.join(", ")}`);
  return known;
}

function jobId(text: string): string {
  if (!JobId.safeParse(text).success) throw new InvalidArgumentError("8 to 64 letters, digits, _ and -");
  return text;
}

function count(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 1000)
    throw new InvalidArgumentError("a whole number from 1 to 1000");
  return value;
}
