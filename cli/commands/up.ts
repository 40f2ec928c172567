import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { InvalidArgumentError, Option } from "commander";
import { MeshError } from "../../bus-schemas/index.ts";
import { describeHolder, whoHoldsPort } from "../../service/bus-server/index.ts";
import { createLog } from "../../service/log.ts";
import { stateDir } from "../../service/paths.ts";
import { startToken } from "../../service/process-info.ts";
import { EXIT, examples, type CommandModule } from "../command.ts";
import { busFolder, checkBusSettings, readBusSettings, type BusSettings } from "../bus/bus-settings.ts";
import { readMeshFile } from "../mesh-file.ts";
import { portNumber, subjectToken } from "../options.ts";
import { egressEnvironment } from "../up/egress.ts";
import { runFirstJob } from "../up/first-job.ts";
import { JsonReporter } from "../up/json-reporter.ts";
import { Mesh } from "../up/mesh.ts";
import type { UpReporter } from "../up/reporter.ts";
import { TerminalReporter } from "../up/terminal-reporter.ts";
import { whenTold } from "../up/when-told.ts";

interface UpFlags {
  gatewayPort: number;
  busPort?: number;
  busHost?: string;
  routers: number;
  auditors: string;
  providers?: string;
  cell?: string;
  firstJob: boolean;
  json?: boolean;
}

/** A first model may have to be fetched: as long as there is progress, a newcomer waits this long at most, milliseconds. */
const MODEL_LIMIT_MS = 20 * 60_000;

export const up: CommandModule = (program) => {
  program
    .command("up")
    .description("start the whole mesh on this machine: bus, router, agent, auditor, gateway")
    .addOption(
      new Option("--gateway-port <port>", "port of the HTTP gateway")
        .env("TIERMESH_GATEWAY_PORT")
        .default(8080)
        .argParser(gatewayPort),
    )
    .addOption(
      new Option("--bus-port <port>", "port of the bus; 0 = any free one (default: 4222)")
        .env("TIERMESH_BUS_PORT")
        .argParser(portNumber),
    )
    .addOption(
      new Option(
        "--bus-host <address>",
        "address that the bus listens on, 0.0.0.0 = all; with TLS unless it is loopback",
      ).env("TIERMESH_BUS_HOST"),
    )
    .addOption(new Option("--routers <count>", "how many routers share the jobs").default(1).argParser(routerCount))
    .addOption(
      new Option("--auditors <count>", "2 = a second auditor follows the first and takes over when it is gone")
        .choices(["1", "2"])
        .default("1"),
    )
    .addOption(
      new Option("--cell <name>", "cell whose subjects are used (default: main)")
        .env("TIERMESH_CELL")
        .argParser(subjectToken),
    )
    .addOption(
      new Option("--providers <file>", "cloud providers; starts an egress node for them (docs/egress.md)").env(
        "TIERMESH_PROVIDERS",
      ),
    )
    .option("--json", "what happens as JSON lines")
    .option("--no-first-job", "do not send a first job through the mesh")
    .addHelpText(
      "after",
      examples(
        "tiermesh up",
        "tiermesh up --gateway-port 9080 --routers 3",
        "tiermesh up --bus-host 0.0.0.0                # other machines may join (tiermesh node add)",
        "tiermesh up --providers providers.yaml",
        "TIERMESH_NATS_URL=nats://bus.example:4222 tiermesh up   # use a bus that is there",
      ),
    )
    .action(async (flags: UpFlags) => {
      process.exitCode = await runUp(flags);
    });
};

async function runUp(flags: UpFlags): Promise<number> {
  const { env } = process;
  const running = readMeshFile(env);
  // After a crash the process id may be another program's by now.
  if (running !== undefined && [undefined, await startToken(running.pid)].includes(running.start_token)) {
    throw new MeshError(
      "bad_config",
      `a mesh already runs here (process ${running.pid}, gateway ${running.gateway_url}); see \`tiermesh status\`, or set TIERMESH_HOME for a second one`,
    );
  }
  const holder = await whoHoldsPort(flags.gatewayPort);
  if (holder !== undefined) {
    throw new MeshError(
      "bad_config",
      `port ${flags.gatewayPort} is held by ${describeHolder(holder)}; stop it or choose another with --gateway-port`,
    );
  }
  const egress = flags.providers === undefined ? undefined : egressEnvironment(flags.providers, env);
  const startedAtMs = performance.now();
  const report: UpReporter = flags.json === true ? new JsonReporter() : new TerminalReporter();
  const stopping = new AbortController();
  const told = whenTold(stopping, env);
  const directory = stateDir({ env });
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const bus = settingsOf(directory, flags);
  report.start();
  const mesh = await Mesh.start(
    {
      env,
      stateDir: directory,
      log: createLog("up", env["LOG_LEVEL"] ?? "warn"),
      say: (line) => report.say(line),
      onLogLine: (name, line) => report.log(name, line),
      bus,
      gatewayPort: flags.gatewayPort,
      routers: flags.routers,
      auditors: Number(flags.auditors),
      egress,
    },
    stopping.signal,
  );
  let code: number = EXIT.ok;
  try {
    const facts = {
      gatewayUrl: mesh.gatewayUrl,
      natsUrl: mesh.address.url,
      cell: bus.cell,
      processes: mesh.processes.map(({ name }) => name),
      logDir: join(directory, "logs"),
      seconds: (performance.now() - startedAtMs) / 1000,
    };
    report.ready(facts);
    if (!stopping.signal.aborted) await showNode(mesh, report, stopping.signal);
    // With separate duties this operator may not read the record, which the first job shows.
    if (flags.firstJob && bus.duties === "one" && !stopping.signal.aborted) {
      const result = await runFirstJob(mesh.client, report, stopping.signal);
      if (result?.status !== "finished" && !stopping.signal.aborted) {
        report.problem("the first job did not finish; `tiermesh doctor` looks for the cause");
      }
    }
    if (!stopping.signal.aborted) report.nextSteps(facts);
    await told;
  } catch (error) {
    if (!stopping.signal.aborted) {
      report.problem(error instanceof Error ? error.message : "unexpected error");
      code = EXIT.failed;
    }
  }
  report.stopping();
  await mesh.stop();
  report.stopped();
  return code;
}

/** What `tiermesh bus init` wrote down, if anything; flags win. */
function settingsOf(directory: string, { busHost, busPort, cell }: UpFlags): BusSettings {
  const flags = {
    ...(busHost === undefined ? {} : { host: busHost }),
    ...(busPort === undefined ? {} : { port: busPort }),
    ...(cell === undefined ? {} : { cell }),
  };
  return checkBusSettings({ ...readBusSettings(busFolder(directory)), ...flags }, "the settings of the bus");
}

/** Waits for this machine to appear with a model, and shows it. */
async function showNode(mesh: Mesh, report: UpReporter, signal: AbortSignal): Promise<void> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(MODEL_LIMIT_MS)]);
  const agent = mesh.processes.find(({ name }) => name === "agent");
  const { nodes } = mesh.client;
  await nodes.ready((record) => record.node_id === agent?.facts["node_id"], limit);
  if (nodes.list().every(({ record }) => record.served_models.length === 0)) report.waitingForModel();
  await nodes.ready((record) => record.served_models.length > 0, limit);
  report.nodes(nodes.list());
}

/** Never 0: the gateway must come back on the same port. */
function gatewayPort(text: string): number {
  if (Number(text) === 0) throw new InvalidArgumentError("a port is a whole number from 1 to 65535");
  return portNumber(text);
}

function routerCount(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > 16) throw new InvalidArgumentError("from 1 to 16");
  return count;
}
