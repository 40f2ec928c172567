import { MeshError, TOOL_INBOX } from "../../bus-schemas/index.ts";
import { readNkeyFile } from "../../service/access/nkey-file.ts";
import type { BusAddress } from "../../service/bus.ts";
import { examples, type CommandModule } from "../command.ts";
import { print, printJson } from "../format/terminal.ts";
import { busAddress, readMeshFile } from "../mesh-file.ts";
import { Option } from "commander";

export const bus: CommandModule = (program) => {
  const command = program.command("bus").description("the bus that the mesh runs on");
  command
    .command("env")
    .description("its address and a key as variables that the nats CLI reads")
    .addOption(new Option("--role <role>", "whose key").choices(["operator", "client"]).default("operator"))
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples(
        'eval "$(tiermesh bus env)"; nats sub "mesh.main.event.>"',
        'eval "$(tiermesh bus env)"; nats micro ls',
        "tiermesh bus env --role client        # for a program that only submits jobs",
      ),
    )
    .action((flags: { role: "operator" | "client"; json?: boolean }) => {
      const { address, inbox } = toolAccess(flags.role);
      const variables = {
        NATS_URL: address.url,
        ...(address.user === undefined ? {} : { NATS_USER: address.user }),
        ...(address.password === undefined ? {} : { NATS_PASSWORD: address.password }),
        ...(address.nkeyFile === undefined ? {} : { NATS_NKEY: address.nkeyFile }),
      };
      if (flags.json === true) return printJson({ ...variables, inbox_prefix: inbox });
      for (const [name, value] of Object.entries(variables))
        print(`export ${name}='${value.replaceAll("'", String.raw`'\''`)}'`);
      if (inbox !== TOOL_INBOX)
        print(
          `# answers come only below its own inbox: nats --inbox-prefix ${inbox} req …, inboxPrefix in other clients`,
        );
    });
};

/** How a program that is none of ours connects in this role, and where it may hear answers. */
function toolAccess(role: "operator" | "client"): { address: BusAddress; inbox: string } {
  const address = busAddress(process.env);
  if (address.nkeyFile === undefined) return { address, inbox: TOOL_INBOX };
  const { nats_tools_nkey: tools, nats_client_nkey: client } = readMeshFile(process.env) ?? {};
  const nkeyFile = role === "client" ? client : tools;
  if (nkeyFile === undefined)
    throw new MeshError("not_found", `only the machine of the bus has a key of the role ${role}: its folder keys`);
  const inbox = role === "client" ? readNkeyFile(nkeyFile).inbox : TOOL_INBOX;
  return { address: { ...address, nkeyFile }, inbox };
}
