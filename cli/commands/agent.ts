import { joinMesh, readMember } from "../../agent/membership.ts";
import { MeshError } from "../../bus-schemas/index.ts";
import { stateDir } from "../../service/paths.ts";
import { examples, type CommandModule } from "../command.ts";
import { note } from "../format/terminal.ts";
import { readSecret } from "../secret-input.ts";

export const agent: CommandModule = (program) => {
  const command = program.command("agent").description("this machine as a node of a mesh elsewhere");
  command
    .command("run")
    .description("run this machine's agent until Ctrl-C")
    .option("--join <token>", "join by this token first, unless this machine has joined; - reads standard input")
    .option("--json", "no line for people, only the agent's own JSON lines")
    .addHelpText(
      "after",
      examples(
        "tiermesh agent run --join tmjoin_…          # the first time",
        "tiermesh agent run                          # later",
        "TIERMESH_PROVIDERS=providers.yaml tiermesh agent run   # a node of layer L2",
      ),
    )
    .action(async (flags: { join?: string; json?: boolean }) => {
      const directory = stateDir();
      const known = readMember(directory);
      if (known !== undefined && flags.join !== undefined)
        note(`this machine is ${known.node_id} already; the token is not used (to join anew: tiermesh node join)`);
      if (known === undefined && flags.join !== undefined) await joinMesh(await readSecret(flags.join), directory);
      const member = readMember(directory);
      if (member === undefined && (process.env["TIERMESH_NATS_URL"] ?? "") === "")
        throw new MeshError(
          "bad_config",
          "this machine has not joined a mesh: get a token there (tiermesh node add NAME --layer L1), then tiermesh agent run --join TOKEN",
        );
      if (flags.json !== true && member !== undefined)
        note(`agent of ${member.node_id}, ${member.layer}, on ${member.urls.join(", ")}; Ctrl-C stops it`);
      await import("../../agent/main.ts");
    });
};
