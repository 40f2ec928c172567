import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { MeshError } from "../../bus-schemas/index.ts";
import { MeshClient } from "../../client/index.ts";
import { connectBus } from "../../service/bus.ts";
import { EventPublisher } from "../../service/events.ts";
import type { Log } from "../../service/log.ts";
import { cacheDir } from "../../service/paths.ts";
import { startToken } from "../../service/process-info.ts";
import { ensureAuditStream } from "../../service/streams.ts";
import { Supervisor, type ProcessStatus } from "../../service/supervisor.ts";
import { VERSION } from "../../service/version.ts";
import { removeMeshFile, writeMeshFile } from "../mesh-file.ts";
import { BusKeeper } from "./bus-keeper.ts";

export interface MeshOptions {
  env: NodeJS.ProcessEnv;
  stateDir: string;
  cell: string;
  busPort: number;
  gatewayPort: number;
  routers: number;
  /** Environment of the egress process (egress.ts); undefined = none is started. */
  egress?: Readonly<Record<string, string>> | undefined;
  log: Log;
  /** A line for people. */
  say: (line: string) => void;
  /** A line of a process's JSON log. */
  onLogLine: (process: string, line: string) => void;
}

/** A process of the mesh gets ready within this time, milliseconds. */
const READY_LIMIT_MS = 30_000;
const ROOT = fileURLToPath(new URL("../..", import.meta.url));

interface Address {
  url: string;
  user?: string;
  password?: string;
  caFile?: string;
  cell: string;
}

/** The whole mesh on one machine: the bus, and every part as a process of its own under one supervisor. */
export class Mesh {
  readonly client: MeshClient;
  readonly gatewayUrl: string;
  readonly address: Address;
  readonly #options: MeshOptions;
  readonly #supervisor: Supervisor;
  readonly #keeper: BusKeeper | undefined;
  readonly #events: EventPublisher;
  readonly #startedAt = new Date().toISOString();
  readonly #startToken: string | undefined;

  private constructor(
    options: MeshOptions,
    address: Address,
    keeper: BusKeeper | undefined,
    client: MeshClient,
    supervisor: Supervisor,
    events: EventPublisher,
    token: string | undefined,
  ) {
    this.#options = options;
    this.address = address;
    this.#keeper = keeper;
    this.client = client;
    this.#supervisor = supervisor;
    this.#events = events;
    this.#startToken = token;
    this.gatewayUrl = `http://127.0.0.1:${options.gatewayPort}`;
  }

  /** @throws MeshError that says what holds a port, what is missing or which process did not get ready. */
  static async start(options: MeshOptions, signal: AbortSignal): Promise<Mesh> {
    const { env, stateDir, say, log } = options;
    const logDir = join(stateDir, "logs");
    mkdirSync(logDir, { recursive: true, mode: 0o700 });
    const { keeper, address } = await openBus(options, signal);
    const bus = await connectBus("up", address, log, { timeoutMs: 5000 }).catch(async (error: unknown) => {
      await keeper?.stop();
      throw error;
    });
    const client = new MeshClient(bus);
    const events = new EventPublisher(bus, "up", log);
    try {
      if (bus.nc.info?.jetstream !== true)
        throw new MeshError(
          "bad_config",
          "the bus has no JetStream, which keeps the audit; start nats-server with -js",
        );
      await ensureAuditStream(bus);
    } catch (error) {
      await client.close();
      await keeper?.stop();
      throw error;
    }
    const supervisor = new Supervisor({
      logDir,
      onLogLine: options.onLogLine,
      onRestart: (name, exit, waitMs) => say(`${name} ended (${exit}); starting it again in ${waitMs} ms`),
      onReady: (status, exit) => mesh.#onReady(status, exit),
    });
    const token = await startToken(process.pid);
    const mesh: Mesh = new Mesh(options, address, keeper, client, supervisor, events, token);
    try {
      await mesh.#startProcesses(env);
    } catch (error) {
      await mesh.stop();
      throw error;
    }
    return mesh;
  }

  get processes(): ProcessStatus[] {
    return this.#supervisor.statuses;
  }

  get busPid(): number | undefined {
    return this.#keeper?.bus.pid;
  }

  /** In order: no new requests, no new jobs, then the nodes, the record of what happened, and the bus last. */
  async stop(): Promise<void> {
    removeMeshFile(this.#options.env);
    const routers = this.#supervisor.statuses.map(({ name }) => name).filter((name) => name.startsWith("router"));
    await this.#supervisor.stop(["gateway", ...routers, "agent", "egress", "auditor"]);
    await this.#events.close(1000);
    await this.client.close();
    await this.#keeper?.stop();
  }

  async #startProcesses(env: NodeJS.ProcessEnv): Promise<void> {
    const { egress, gatewayPort, routers } = this.#options;
    const { url, user, password, caFile, cell } = this.address;
    const shared = {
      TIERMESH_NATS_URL: url,
      TIERMESH_CELL: cell,
      TIERMESH_HOME: this.#options.stateDir,
      ...(user === undefined ? {} : { TIERMESH_NATS_USER: user }),
      ...(password === undefined ? {} : { TIERMESH_NATS_PASSWORD: password }),
      // Empty counts as unset: our own bus in clear is not to be checked by another bus's authority.
      TIERMESH_NATS_CA: caFile ?? "",
      ROUTING_CONFIG_PATH: env["ROUTING_CONFIG_PATH"] ?? join(ROOT, "deploy", "routing.yaml"),
      // Halves the start of a process (0.67 s to 0.37 s here): compiled code is kept between starts.
      NODE_COMPILE_CACHE: env["NODE_COMPILE_CACHE"] ?? join(cacheDir({ env }), "compiled"),
      // Each process picks a free port of its own for /health and /metrics.
      TIERMESH_HEALTH_PORT: "0",
      // For the egress process only.
      TIERMESH_PROVIDERS: "",
    };
    const start = (name: string, folder: string, extra: Record<string, string> = {}) =>
      this.#supervisor.start(
        { name, entry: join(ROOT, folder, "main.ts"), env: { ...shared, ...extra } },
        READY_LIMIT_MS,
      );
    const routerNames = Array.from({ length: routers }, (_, i) => (routers === 1 ? "router" : `router-${i + 1}`));
    await Promise.all([
      start("auditor", "auditor"),
      start("agent", "agent"),
      ...(egress === undefined ? [] : [start("egress", "agent", egress)]),
      start("gateway", "gateway", { TIERMESH_GATEWAY_PORT: String(gatewayPort) }),
      ...routerNames.map((name) => start(name, "router", { TIERMESH_ROUTER_ID: name })),
    ]);
  }

  #onReady(status: ProcessStatus, exit: string | null): void {
    if (status.restarts > 0) this.#options.say(`${status.name} is back`);
    try {
      this.#writeFile();
      const process = status.name.replace(/[^A-Za-z0-9_-]/g, "-");
      this.#events.record("process_started", { process, restarts: status.restarts, exit });
    } catch (error) {
      // A full disk or audit stream is no reason to take the mesh down.
      this.#options.log.warn({ err: error, process: status.name }, "a start could not be written down");
    }
  }

  #writeFile(): void {
    const { env, stateDir } = this.#options;
    const { url, user, password, caFile, cell } = this.address;
    const agent = this.processes.find(({ name }) => name === "agent");
    writeMeshFile(env, {
      pid: process.pid,
      ...(this.#startToken === undefined ? {} : { start_token: this.#startToken }),
      started_at: this.#startedAt,
      version: VERSION,
      cell,
      nats_url: url,
      nats_user: user,
      nats_password: password,
      nats_ca: caFile,
      gateway_url: this.gatewayUrl,
      node_id: typeof agent?.facts["node_id"] === "string" ? agent.facts["node_id"] : null,
      state_dir: stateDir,
      processes: this.processes.map(({ name, pid, state, restarts, facts }) => ({
        name,
        pid: pid ?? null,
        state,
        restarts,
        health_port: typeof facts["health_port"] === "number" ? facts["health_port"] : null,
      })),
    });
  }
}

/** The bus to use: an external one by `TIERMESH_NATS_URL`, else our own nats-server. */
async function openBus(
  options: MeshOptions,
  signal: AbortSignal,
): Promise<{ keeper: BusKeeper | undefined; address: Address }> {
  const { env, cell, stateDir, busPort, say } = options;
  const external = env["TIERMESH_NATS_URL"];
  if (external !== undefined && external !== "") {
    const [user, password] = [env["TIERMESH_NATS_USER"], env["TIERMESH_NATS_PASSWORD"]];
    const caFile = env["TIERMESH_NATS_CA"];
    return {
      keeper: undefined,
      address: {
        url: external,
        cell,
        ...(user === undefined ? {} : { user }),
        ...(password === undefined ? {} : { password }),
        ...(caFile === undefined || caFile === "" ? {} : { caFile }),
      },
    };
  }
  const keeper = await BusKeeper.start(
    {
      env,
      stateDir: join(stateDir, "bus"),
      port: busPort,
      onProgress: say,
      onRestart: (exit) => say(`nats-server ended (${exit}); starting it again`),
    },
    signal,
  );
  const { url, user, password, version, port } = keeper.bus;
  say(`bus        nats-server ${version} on port ${port}, data in ${join(stateDir, "bus")}`);
  return { keeper, address: { url, user, password, cell } };
}
