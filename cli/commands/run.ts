import { Argument, Option } from "commander";
import { AUDITORS, MeshError } from "../../bus-schemas/index.ts";
import { redactUrl } from "../../service/bus.ts";
import { BASE_ENV, busVariables } from "../../service/config.ts";
import { stateDir } from "../../service/paths.ts";
import { accessOf } from "../bus/access.ts";
import { examples, type CommandModule } from "../command.ts";
import { note } from "../format/terminal.ts";
import { portNumber, subjectToken } from "../options.ts";
import { routingConfigPath } from "../up/mesh.ts";

const PARTS = ["router", "gateway", "auditor"] as const;
type Part = (typeof PARTS)[number];

interface RunFlags {
  id?: string;
  key?: string;
  host?: string;
  port?: number;
  json?: boolean;
}

export const run: CommandModule = (program) => {
  program
    .command("run")
    .description("run one part of a mesh on this machine until Ctrl-C, on a bus that runs elsewhere or beside it")
    .addArgument(new Argument("<part>", "which one").choices(PARTS))
    .addOption(
      new Option(
        "--id <name>",
        "of a router: its name, unique in the mesh; of an auditor: auditor-2 is the standby",
      ).argParser(subjectToken),
    )
    .option("--key <file>", "of the standby auditor: its copy of the first one's log-key")
    .option("--host <address>", "of a gateway: address to listen on (default: loopback)")
    .addOption(new Option("--port <port>", "of a gateway: its HTTP port (default: 8080)").argParser(portNumber))
    .option("--json", "no line for people, only the part's own JSON lines")
    .addHelpText(
      "after",
      examples(
        "tiermesh run router --id r1        # as many as you like: they share the jobs",
        "tiermesh run gateway --port 8080   # as many as you like, behind a proxy (deploy/)",
        "tiermesh run auditor               # keeps the log",
        "tiermesh run auditor --id auditor-2 --key log-key   # on another machine: follows, and takes over (docs/audit.md)",
        "TIERMESH_NATS_URL=tls://bus1:4222,tls://bus2:4222 TIERMESH_NATS_NKEY=router.nk TIERMESH_NATS_CA=ca.pem tiermesh run router",
      ) +
        "\n\nIts key and the bus's addresses are in $TIERMESH_HOME/access (tiermesh bus init --cluster … --out), in the keys of a" +
        "\nbus on this machine, or in variables. It writes JSON lines: one when it is ready, then its log.",
    )
    .action(async (part: Part, flags: RunFlags) => {
      Object.assign(process.env, variablesOf(part, flags));
      if (flags.json !== true) note(`${part} on ${redactUrl(process.env[BASE_ENV.natsUrl] ?? "")}; Ctrl-C stops it`);
      await start(part);
    });
};

/** @throws MeshError `bad_config` when there is no way to a bus, or a flag is for another part */
function variablesOf(part: Part, { host, id, key, port }: RunFlags): Record<string, string> {
  if (id !== undefined && part === "gateway")
    throw new MeshError("bad_config", "--id is for routers and auditors", { field: "id" });
  if (id !== undefined && part === "auditor" && !AUDITORS.some((name) => name === id))
    throw new MeshError("bad_config", `--id of an auditor is ${AUDITORS.join(" or ")}`, { field: "id" });
  if (key !== undefined && part !== "auditor")
    throw new MeshError("bad_config", "--key is for auditors", { field: "key" });
  if ((host ?? port) !== undefined && part !== "gateway")
    throw new MeshError("bad_config", "--host and --port are for gateways", { field: "port" });
  return {
    ...busOf(part),
    ...(part === "router" ? { ROUTING_CONFIG_PATH: routingConfigPath(process.env) } : {}),
    ...(id === undefined ? {} : { [part === "router" ? "TIERMESH_ROUTER_ID" : "TIERMESH_AUDITOR_ID"]: id }),
    ...(key === undefined ? {} : { TIERMESH_AUDIT_KEY: key }),
    ...(host === undefined ? {} : { TIERMESH_GATEWAY_HOST: host }),
    ...(port === undefined ? {} : { TIERMESH_GATEWAY_PORT: String(port) }),
  };
}

function busOf(part: Part): Record<string, string> {
  if ((process.env[BASE_ENV.natsUrl] ?? "") !== "") return {};
  const address = accessOf(part, stateDir());
  if (address === undefined)
    throw new MeshError(
      "bad_config",
      `no way to a bus: put access/${part} of the cluster's bundle into ${stateDir()}/access, or set TIERMESH_NATS_URL`,
    );
  return busVariables(address);
}

/** Each part is a program that begins when it is loaded. */
async function start(part: Part): Promise<void> {
  if (part === "router") await import("../../router/main.ts");
  else if (part === "gateway") await import("../../gateway/main.ts");
  else await import("../../auditor/main.ts");
}
