import { InvalidArgumentError, Option } from "commander";
import { examples, type CommandModule } from "../command.ts";
import { portNumber } from "../options.ts";
import { makeWitnessKey, type WitnessKeyFlags } from "../witness/key.ts";
import { witness as serve, type WitnessFlags } from "../witness/serve.ts";

export const witness: CommandModule = (program) => {
  const command = program
    .command("witness")
    .description("watch somebody's audit log from outside: cosigns its checkpoints, and refuses one that was rewritten")
    .option("--key <file>", "this witness's private key (tiermesh witness key)")
    .option("--log <file...>", "verifier keys of the logs to cosign (each auditor's log-key.pub)")
    .addOption(
      new Option("--listen <address:port>", "where the auditor reaches it")
        .default({ host: "127.0.0.1", port: 4873 }, "127.0.0.1:4873")
        .argParser(address),
    )
    .option("--json", "no line for people, only its own JSON lines")
    .addHelpText(
      "after",
      examples(
        "tiermesh witness key bank-witness --name audit.bank.example/w1",
        "tiermesh witness --key bank-witness --log log-key.pub --listen 0.0.0.0:4873",
      ) +
        "\n\nIt needs no mesh: run it where those who run the mesh have no say. The auditor's file `witnesses` names it:" +
        "\n  witness bank <content of bank-witness.pub> http://witness.bank.example:4873",
    )
    .action(async (flags: Partial<WitnessFlags>) => {
      const { key, listen, log, json } = flags;
      if (key === undefined) return command.error("error: required option '--key <file>' not specified");
      if (log === undefined) return command.error("error: required option '--log <file...>' not specified");
      await serve({ key, log, listen: listen ?? { host: "127.0.0.1", port: 0 }, ...(json === true ? { json } : {}) });
    });
  command
    .command("key")
    .description("make a witness's key: FILE, its public half FILE.pub, and FILE.record for what it cosigns")
    .argument("<file>", "where to")
    .option("--name <name>", "its name for ever, such as a URL without https://; this host's name if not said")
    .option("--mldsa", "a key of ML-DSA-44, which a quantum computer does not break, instead of Ed25519")
    .option("--json", "as JSON")
    .addHelpText("after", examples("tiermesh witness key bank-witness --name audit.bank.example/w1"))
    .action(makeWitnessKey satisfies (file: string, flags: WitnessKeyFlags) => void);
};

function address(text: string): { host: string; port: number } {
  const [, host = "", port = ""] = /^(?:(.+):)?(\d+)$/.exec(text) ?? [];
  if (port === "") throw new InvalidArgumentError("an address and a port, 0.0.0.0:4873");
  return { host: host === "" ? "127.0.0.1" : host.replace(/^\[(.*)\]$/, "$1"), port: portNumber(port) };
}
