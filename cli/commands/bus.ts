import { join } from "node:path";
import { Option, type Command } from "commander";
import { MeshError, TOOL_INBOX } from "../../bus-schemas/index.ts";
import { readNkeyFile } from "../../service/access/nkey-file.ts";
import type { BusAddress } from "../../service/bus.ts";
import { changeStorageKey } from "../../service/bus-server/index.ts";
import { createLog } from "../../service/log.ts";
import { stateDir } from "../../service/paths.ts";
import { Broker } from "../bus/broker.ts";
import {
  busFolder,
  checkBusSettings,
  hasBusSettings,
  isLoopback,
  readBusSettings,
  speaksTls,
  type BusSettings,
} from "../bus/bus-settings.ts";
import { makeBundle } from "../bus/bundle.ts";
import { parseRoutes } from "../bus/cluster.ts";
import { initBus } from "../bus/init.ts";
import { examples, type CommandModule } from "../command.ts";
import { note, print, printJson } from "../format/terminal.ts";
import { busAddress, readMeshFile } from "../mesh-file.ts";
import { portNumber, subjectToken } from "../options.ts";
import { routingConfigPath } from "../up/mesh.ts";
import { whenTold } from "../up/when-told.ts";

export const bus: CommandModule = (program) => {
  const command = program.command("bus").description("the bus that the mesh runs on");
  addInit(command);
  addRun(command);
  addEnv(command);
};

interface InitFlags {
  host?: string;
  port?: number;
  cell?: string;
  url?: string[];
  tls?: string;
  cert?: string;
  key?: string;
  ca?: string;
  sync?: string;
  encrypt?: boolean;
  separateDuties?: boolean;
  newStorageKey?: boolean;
  cluster?: string;
  server?: string;
  routes?: string;
  out?: string;
  from?: string;
  json?: boolean;
}

function addInit(command: Command): void {
  command
    .command("init")
    .description("write a bus's configuration: a key for each role, permissions, certificates")
    .option("--host <address>", "address to listen on; 0.0.0.0 = all of this machine's")
    .addOption(new Option("--port <port>", "client port").argParser(portNumber))
    .addOption(new Option("--cell <name>", "cell whose subjects are used").argParser(subjectToken))
    .option("--url <url...>", "address by which other machines reach it, when that is another one")
    .addOption(
      new Option("--tls <how>", "generated unless it listens on loopback only").choices(["auto", "off", "generated"]),
    )
    .option("--cert <file>", "a certificate of your own, PEM, with --key and --ca")
    .option("--key <file>", "its key")
    .option("--ca <file>", "its authority")
    .addOption(new Option("--cluster <name>", "one server of a cluster, with --routes").argParser(subjectToken))
    .option("--routes <list>", "all its servers: host:port,… or name=host:port,…; the names are n1, n2, … otherwise")
    .addOption(new Option("--server <name>", "which of them this machine is").argParser(subjectToken))
    .addOption(
      new Option(
        "--sync <when>",
        "messages are on the disk before they are acknowledged (always), or two minutes later",
      ).choices(["always", "interval"]),
    )
    .option("--separate-duties", "operators keep neither policy nor record: keys/security.nk and keys/inspector.nk do")
    .option("--encrypt", "what the bus stores is encrypted, by a key in its folder")
    .option("--new-storage-key", "with a bus that encrypts: a new key from its next start on")
    .option("--out <dir>", "a folder for each server of the cluster, ready to be copied; nothing is changed here")
    .option("--from <folder>", "with --out: the bus that grows into the cluster, whose keys and nodes are kept")
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples(
        "tiermesh bus init                               # for this machine only",
        "tiermesh bus init --host 0.0.0.0 --url tls://bus.example:4222",
        "tiermesh bus init --host 10.0.0.5 --cert bus.pem --key bus.key --ca company-ca.pem",
        "tiermesh bus init --encrypt                     # streams are encrypted on the disk; keep a copy of storage-key",
        "tiermesh bus init --cluster main --routes bus1.example:6222,bus2.example:6222,bus3.example:6222 --out bundle",
        "tiermesh bus init --cluster main --server n1 --routes 10.0.0.1,10.0.0.2,10.0.0.3   # this folder's bus as one of them",
      ),
    )
    .action(async (flags: InitFlags) => {
      const folder = busFolder(stateDir());
      if (flags.out !== undefined) return bundle(flags.out, flags);
      if (flags.from !== undefined) throw new MeshError("bad_config", "--from goes with --out", { field: "from" });
      const settings = settingsFrom(flags, folder);
      if (flags.newStorageKey === true) changeKey(folder, settings.encrypt);
      const made = await initBus(folder, settings, note);
      if (flags.json === true) return printJson(made);
      print(`${made.existed ? "the bus as it was, with these settings" : "a new bus"} in ${folder}`);
      print(`configuration  ${made.config}`);
      print(`permissions    ${made.accounts}`);
      print(`keys           ${join(folder, "keys")}: ${Object.keys(made.keys).join(", ")}`);
      print(`storage        ${storageOf(settings)}`);
      print(
        `TLS            ${made.ca_file === null ? "none: it listens on loopback only" : `authority ${made.ca_file}`}`,
      );
      print("next           tiermesh up (the whole mesh), or tiermesh bus run (the bus alone)");
    });
}

function changeKey(folder: string, encrypts: boolean): void {
  if (!encrypts)
    throw new MeshError("bad_config", "--new-storage-key: this bus does not encrypt; add --encrypt", {
      field: "new-storage-key",
    });
  changeStorageKey(folder);
}

function storageOf({ sync, encrypt }: BusSettings): string {
  const when =
    sync === "always" ? "each message on the disk before it is acknowledged" : "on the disk every two minutes";
  return `${when}; ${encrypt ? "encrypted (keep a copy of storage-key: nothing else reads it)" : "in clear (--encrypt)"}`;
}

function settingsFrom(flags: InitFlags, folder: string) {
  const given = flags.cert !== undefined || flags.key !== undefined || flags.ca !== undefined;
  const said = {
    host: flags.host,
    port: flags.port,
    cell: flags.cell,
    urls: flags.url,
    tls: given ? "given" : flags.tls,
    cert_file: flags.cert,
    key_file: flags.key,
    ca_file: flags.ca,
    // A new one of a company's; what is there keeps its own way.
    sync: flags.sync ?? (hasBusSettings(folder) ? undefined : "always"),
    encrypt: flags.encrypt,
    duties: flags.separateDuties === true ? "separate" : undefined,
    cluster: clusterFrom(flags),
  };
  const before = flags.tls === undefined ? readBusSettings(folder) : withoutFiles(readBusSettings(folder));
  const settings = {
    ...before,
    ...Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined)),
  };
  return checkBusSettings(settings, "bus init");
}

function clusterFrom({ cluster: name, out, routes, server }: InitFlags) {
  if (name === undefined && routes === undefined && server === undefined) return undefined;
  if (name === undefined || routes === undefined)
    throw new MeshError("bad_config", "--cluster, --routes and --server go together", { field: "cluster" });
  const servers = parseRoutes(routes);
  // Of a bundle each server is the one of its own folder.
  const own = server ?? (out === undefined ? undefined : servers[0]?.name);
  if (own === undefined)
    throw new MeshError("bad_config", `--server: which of ${servers.map((each) => each.name).join(", ")} is this?`, {
      field: "server",
    });
  return { name, server: own, servers };
}

async function bundle(out: string, flags: InitFlags): Promise<void> {
  const { cluster, ...settings } = checkBusSettings(settingsFrom(flags, out), "bus init");
  if (cluster === undefined)
    throw new MeshError("bad_config", "--out makes a cluster's servers: name it by --cluster and --routes", {
      field: "out",
    });
  const made = await makeBundle(out, { ...settings, cluster }, { from: flags.from, listen: flags.host });
  if (flags.json === true) return printJson(made);
  print(`${made.existed ? "the cluster as it was, with these settings" : "a new cluster"} in ${made.folder}`);
  print(`servers        ${made.servers.join(", ")}: one for each machine`);
  print(`access         ${join(made.folder, "access")}: a key for each part`);
  print(`keep           ${made.keep}: all secrets; off the network`);
  print(`next           ${join(made.folder, "README.md")}`);
}

function withoutFiles(settings: ReturnType<typeof readBusSettings>) {
  const { cert_file: _cert, key_file: _key, ca_file: _ca, ...rest } = settings;
  return rest;
}

function addRun(command: Command): void {
  command
    .command("run")
    .description("run the bus alone until Ctrl-C: nats-server, its streams, and who may join")
    .option("--json", "what happens as JSON lines")
    .addHelpText(
      "after",
      examples(
        "tiermesh bus init --host 0.0.0.0 && tiermesh bus run",
        "TIERMESH_HOME=/var/lib/tiermesh tiermesh bus run     # a server of a cluster (tiermesh bus init --cluster)",
      ),
    )
    .action(async (flags: { json?: boolean }) => {
      const { env } = process;
      const folder = busFolder(stateDir());
      const settings = readBusSettings(folder);
      const stopping = new AbortController();
      const told = whenTold(stopping, env);
      const log = createLog("keeper", env["LOG_LEVEL"]);
      const parts = { env, folder, settings, locals: [], routingConfig: routingConfigPath(env), log, say: note };
      const broker = await Broker.start(parts, stopping.signal).catch((error: unknown) => {
        // Told to stop while it waited for the rest of its cluster.
        if (!stopping.signal.aborted) throw error;
      });
      if (broker === undefined) return;
      const { port, version } = broker.server;
      const { cluster } = settings;
      const among = cluster === undefined ? "" : `, ${cluster.server} of the cluster ${cluster.name}`;
      const where = `${settings.host}:${port}${speaksTls(settings) ? " with TLS" : ""}${among}`;
      if (flags.json === true)
        print(
          JSON.stringify({ event: "ready", port, version, folder, tls: speaksTls(settings), pid: broker.server.pid }),
        );
      else print(`bus        nats-server ${version} on ${where}, data in ${folder}`);
      if (isLoopback(settings.host) && cluster === undefined)
        note("it listens on this machine only; tiermesh bus init --host 0.0.0.0 opens it");
      await told;
      await broker.stop();
    });
}

function addEnv(command: Command): void {
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
        ...(address.caFile === undefined ? {} : { NATS_CA: address.caFile }),
      };
      if (flags.json === true) return printJson({ ...variables, inbox_prefix: inbox });
      for (const [name, value] of Object.entries(variables))
        print(`export ${name}='${value.replaceAll("'", String.raw`'\''`)}'`);
      if (inbox !== TOOL_INBOX)
        print(
          `# answers come only below its own inbox: nats --inbox-prefix ${inbox} req …, inboxPrefix in other clients`,
        );
    });
}

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
