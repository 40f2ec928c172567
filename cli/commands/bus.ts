import { examples, type CommandModule } from "../command.ts";
import { print, printJson } from "../format/terminal.ts";
import { busAddress } from "../mesh-file.ts";

export const bus: CommandModule = (program) => {
  const command = program.command("bus").description("the bus that the mesh runs on");
  command
    .command("env")
    .description("its address and credentials as variables that the nats CLI reads")
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples('eval "$(tiermesh bus env)"; nats sub "mesh.main.event.>"', 'eval "$(tiermesh bus env)"; nats micro ls'),
    )
    .action((flags: { json?: boolean }) => {
      const { url, user, password, caFile } = busAddress(process.env);
      const variables = {
        NATS_URL: url,
        ...(user === undefined ? {} : { NATS_USER: user }),
        ...(password === undefined ? {} : { NATS_PASSWORD: password }),
        ...(caFile === undefined ? {} : { NATS_CA: caFile }),
      };
      if (flags.json === true) printJson(variables);
      else
        for (const [name, value] of Object.entries(variables))
          print(`export ${name}='${value.replaceAll("'", String.raw`'\''`)}'`);
    });
};
