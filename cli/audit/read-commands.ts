import { InvalidArgumentError, type Command } from "commander";
import { examples } from "../command.ts";
import { count, jobId, withFilters } from "./filter.ts";
import { eventFilter, subscribe, unsubscribe } from "./subscribe.ts";
import { subjectToken } from "../options.ts";
import { query, reindex, stats, tail, trace } from "./read.ts";

const OFFLINE = [
  "--offline <folder>",
  "look into this copy of a log (the auditor's folder, or its tlog); needs no mesh",
] as const;
const KEY = ["--key <file>", "the log's verifier key, with --offline (the auditor's log-key.pub)"] as const;

/** The commands of `tiermesh audit` that look into the record. */
export function addReadCommands(command: Command): void {
  withFilters(
    command
      .command("tail")
      .description("the newest entries of the audit log, oldest first")
      .option("-n, --lines <count>", "how many entries", count, 20)
      .option("-f, --follow", "go on with what comes, until Ctrl-C"),
  )
    .option("--json", "one JSON entry a line, with all its data")
    .addHelpText(
      "after",
      examples(
        "tiermesh audit tail",
        "tiermesh audit tail --follow --type job_decided --json",
        "tiermesh audit tail -f --node gpu-1 --outcome failed",
      ),
    )
    .action(tail);
  withFilters(
    command.command("query").description("entries of the whole audit log that fit all that is asked, oldest first"),
  )
    .option("-n, --limit <count>", "at most so many, the newest", count, 100)
    .option(
      "--after <position>",
      "the first ones behind this position instead (#12 is 12); to go on page by page",
      position,
    )
    .option(...OFFLINE)
    .option(...KEY)
    .option("--json", "one JSON entry a line, with all its data")
    .addHelpText(
      "after",
      examples(
        "tiermesh audit query --class P0 --since 7d",
        "tiermesh audit query --node gpu-1 --outcome failed --since 2026-11-01 --until 2026-12-01 --json",
        "tiermesh audit query --type policy_changed --offline /mnt/copy/tlog --key log-key.pub",
      ),
    )
    .action(query);
  command
    .command("trace")
    .description("one job's whole story: decision with all candidates, hops, failover, ending, energy and cost")
    .argument("<job>", "the job's id", jobId)
    .option(...OFFLINE)
    .option(...KEY)
    .option("--json", "as JSON, with the entries themselves")
    .addHelpText("after", examples("tiermesh audit trace 01J8Z3…", "tiermesh audit trace 01J8Z3… --json"))
    .action(trace);
  withFilters(
    command.command("stats").description("how many entries of which kind, how jobs ended and where, energy and cost"),
  )
    .option(...OFFLINE)
    .option(...KEY)
    .option("--json", "as JSON")
    .addHelpText("after", examples("tiermesh audit stats", "tiermesh audit stats --since 7d --class P0 --json"))
    .action(stats);
  command
    .command("reindex")
    .description("makes the search index anew from the signed tiles, on the auditor's machine; nothing else is touched")
    .option("--offline <folder>", "the auditor's folder; this machine's auditor's if not said")
    .option(...KEY)
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples("tiermesh audit reindex", "tiermesh audit reindex --offline /var/lib/tiermesh/audit"),
    )
    .action(reindex);
  command
    .command("subscribe")
    .description(
      "lets another program read events as they come, by a durable consumer and a key of its own, and nothing else",
    )
    .argument("<name>", "of the reader and its consumer", subjectToken)
    .option(
      "--filter <type[.class]>",
      "only these events; may be repeated: job_ended, *.P0, audit_gap.none",
      eventFilter,
      [],
    )
    .option("--from-start", "begin with the oldest event that the stream still has, not with the next one")
    .option("--url <url>", "the bus's address as that program sees it; else the one that other machines are given")
    .option("--out <file>", "where to; NAME.subscription.json in this folder if not said")
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples(
        "tiermesh audit subscribe siem-1",
        "tiermesh audit subscribe p0-watch --filter '*.P0' --filter audit_gap --from-start",
      ),
    )
    .action(subscribe);
  command
    .command("unsubscribe")
    .description("takes a reader's key and its consumer away")
    .argument("<name>", "of the reader", subjectToken)
    .option("--reason <text>", "for the record")
    .option("--json", "as JSON")
    .addHelpText("after", examples('tiermesh audit unsubscribe siem-1 --reason "the old SIEM is gone"'))
    .action(unsubscribe);
}

function position(text: string): number {
  const value = Number(text.replace(/^#/, ""));
  if (!Number.isSafeInteger(value) || value < 0) throw new InvalidArgumentError("a position of the log, such as 120");
  return value;
}
