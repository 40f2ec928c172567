import { STRUCTURES_VERSION } from "../../bus-schemas/index.ts";
import { PINNED_VERSION } from "../../service/bus-server/index.ts";
import { VERSION } from "../../service/version.ts";
import { examples, type CommandModule } from "../command.ts";
import { print, printJson } from "../format/terminal.ts";

export const version: CommandModule = (program) => {
  program
    .command("version")
    .description("versions of Tiermesh and of what it runs on")
    .option("--json", "as JSON")
    .addHelpText("after", examples("tiermesh version", "tiermesh version --json"))
    .action((flags: { json?: boolean }) => {
      const facts = {
        tiermesh: VERSION,
        node: process.versions.node,
        nats_server_pinned: PINNED_VERSION,
        structures: STRUCTURES_VERSION,
        platform: `${process.platform}-${process.arch}`,
      };
      if (flags.json === true) printJson(facts);
      else for (const [name, value] of Object.entries(facts)) print(`${name.padEnd(20)} ${value}`);
    });
};
