import { mkdirSync } from "node:fs";
import { InvalidArgumentError, Option } from "commander";
import { MeshError } from "../../bus-schemas/index.ts";
import { describeHolder, whoHoldsPort } from "../../service/bus-server/index.ts";
import { createLog } from "../../service/log.ts";
import { stateDir } from "../../service/paths.ts";
import { EXIT, examples, type CommandModule } from "../command.ts";
import { formatNodes } from "../format/node.ts";
import { bold, dim, print, yellow } from "../format/terminal.ts";
import { readMeshFile } from "../mesh-file.ts";
import { showFirstJob } from "../up/first-job.ts";
import { LogPrinter } from "../up/log-printer.ts";
import { Mesh } from "../up/mesh.ts";
import { printNextSteps } from "../up/next-steps.ts";
import { whenTold } from "../up/when-told.ts";

interface UpFlags {
  gatewayPort: number;
  busPort: number;
  routers: number;
  cell: string;
  firstJob: boolean;
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
        .argParser(portNumber),
    )
    .addOption(
      new Option("--bus-port <port>", "port of the bus").env("TIERMESH_BUS_PORT").default(4222).argParser(portNumber),
    )
    .addOption(new Option("--routers <count>", "how many routers share the jobs").default(1).argParser(routerCount))
    .addOption(new Option("--cell <name>", "cell whose subjects are used").env("TIERMESH_CELL").default("main"))
    .option("--no-first-job", "do not send a first job through the mesh")
    .addHelpText(
      "after",
      examples(
        "tiermesh up",
        "tiermesh up --gateway-port 9080 --routers 3",
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
  if (running !== undefined) {
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
  const startedAtMs = performance.now();
  const stopping = new AbortController();
  const told = whenTold(stopping, env);
  const directory = stateDir({ env });
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const logs = new LogPrinter(print);
  print(bold("Tiermesh"));
  const mesh = await Mesh.start(
    {
      env,
      stateDir: directory,
      log: createLog("up", env["LOG_LEVEL"] ?? "warn"),
      say: print,
      onLogLine: (name, line) => logs.onLine(name, line),
      ...flags,
    },
    stopping.signal,
  );
  let code: number = EXIT.ok;
  try {
    print(`parts      ${mesh.processes.map(({ name }) => name).join(", ")}; logs in ${directory}/logs`);
    const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1);
    print(`gateway    ${mesh.gatewayUrl}  ${dim(`ready after ${seconds} s`)}`);
    if (!stopping.signal.aborted) await showNode(mesh, stopping.signal);
    if (flags.firstJob && !stopping.signal.aborted) {
      const result = await showFirstJob(mesh.client, stopping.signal);
      if (result?.status !== "finished" && !stopping.signal.aborted)
        print(yellow("the first job did not finish; `tiermesh doctor` looks for the cause"));
    }
    if (!stopping.signal.aborted) printNextSteps(mesh);
    await told;
  } catch (error) {
    if (!stopping.signal.aborted) {
      print(yellow(error instanceof Error ? error.message : "unexpected error"));
      code = EXIT.failed;
    }
  }
  print(dim("stopping …"));
  await mesh.stop();
  print(dim("stopped"));
  return code;
}

/** Waits for this machine to appear with a model, and shows it. */
async function showNode(mesh: Mesh, signal: AbortSignal): Promise<void> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(MODEL_LIMIT_MS)]);
  const agent = mesh.processes.find(({ name }) => name === "agent");
  await mesh.client.nodes.ready((record) => record.node_id === agent?.facts["node_id"], limit);
  if (mesh.client.nodes.list().every(({ record }) => record.served_models.length === 0))
    print(dim("model      looking for one …"));
  await mesh.client.nodes.ready((record) => record.served_models.length > 0, limit);
  print();
  print(formatNodes(mesh.client.nodes.list()));
  print();
}

function portNumber(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new InvalidArgumentError("a port is a whole number from 0 to 65535");
  return port;
}

function routerCount(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > 16) throw new InvalidArgumentError("from 1 to 16");
  return count;
}
