import type { Command } from "commander";
import { examples } from "../command.ts";
import { moment } from "./when.ts";
import { encrypt, type EncryptFlags } from "./encrypt.ts";
import { exportLog, type ExportFlags } from "./export.ts";

const OFFLINE = ["--offline <folder>", "the auditor's folder; this machine's auditor's if not said"] as const;

/** `audit encrypt` and `audit export`. */
export function addStorageCommands(audit: Command): void {
  audit
    .command("encrypt")
    .description(
      "encrypts the log on the disk: makes the storage key if there is none, and seals what is there while the auditor is stopped",
    )
    .option("--new-key", "a new key from the auditor's next start on; older ones stay to be read with")
    .option("--forget-old", "takes older keys out of the key file; refused while any file of the log needs one")
    .option("--status", "only says which files are encrypted by which key")
    .option(...OFFLINE)
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples(
        "tiermesh audit encrypt               # then restart the auditor, and keep a copy of the key file elsewhere",
        "tiermesh audit encrypt --status",
        "tiermesh audit encrypt --new-key     # and after a while --forget-old",
      ) +
        "\n\nThe keys are in TIERMESH_AUDIT_STORAGE_KEY_FILE, or audit-storage-key in the state folder. What others read is made by `audit export`.",
    )
    .action(encrypt satisfies (flags: EncryptFlags) => Promise<void>);
  audit
    .command("export")
    .description(
      "a copy of the signed log in clear, in the published format, for whoever checks or reads it without us",
    )
    .argument("<folder>", "where to; a new or empty folder")
    .option("--offline <folder>", "the auditor's folder or a copy of its tlog; this machine's auditor's if not said")
    .option("--from <time>", "leave out what lies before: 2026-11-01, 2026-11-01T08:00:00Z, 30d", (text) =>
      moment(text),
    )
    .option("--key <file>", "the log's verifier key as you were given it (the auditor's log-key.pub)")
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples(
        "tiermesh audit export /mnt/for-the-auditors",
        "tiermesh audit verify --offline /mnt/for-the-auditors",
        "tiermesh audit export /mnt/since-may --from 2026-05-01",
      ),
    )
    .action(exportLog satisfies (folder: string, flags: ExportFlags) => Promise<void>);
}
