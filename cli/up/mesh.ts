import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { THRIFTY_ENV, THRIFTY_FLAGS } from "../../agent/thrift.ts";
import { DEFAULT_CELL } from "../../bus-schemas/index.ts";
import type { MeshClient } from "../../client/index.ts";
import type { BusAddress } from "../../service/bus.ts";
import { busVariables } from "../../service/config.ts";
import type { Log } from "../../service/log.ts";
import { cacheDir } from "../../service/paths.ts";
import { startToken } from "../../service/process-info.ts";
import { Supervisor, type ProcessStatus } from "../../service/supervisor.ts";
import { VERSION } from "../../service/version.ts";
import { removeMeshFile, writeMeshFile } from "../mesh-file.ts";
import type { BusSettings } from "../bus/bus-settings.ts";
import { ownProfile } from "./local-nodes.ts";
import { openMeshBus, type MeshBus } from "./mesh-bus.ts";

export interface MeshOptions {
  env: NodeJS.ProcessEnv;
  stateDir: string;
  bus: BusSettings;
  gatewayPort: number;
  routers: number;
  /** 1 or 2: the second is the first one's standby. */
  auditors: number;
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

/** The whole mesh on one machine: the bus, and every part as a process of its own under one supervisor. */
export class Mesh {
  readonly gatewayUrl: string;
  readonly #options: MeshOptions;
  readonly #supervisor: Supervisor;
  readonly #bus: MeshBus;
  readonly #startedAt = new Date().toISOString();
  readonly #startToken: string | undefined;

  private constructor(options: MeshOptions, bus: MeshBus, token: string | undefined) {
    const { gatewayPort, onLogLine, say, stateDir } = options;
    this.#options = options;
    this.#bus = bus;
    this.#startToken = token;
    this.gatewayUrl = `http://127.0.0.1:${gatewayPort}`;
    this.#supervisor = new Supervisor({
      logDir: join(stateDir, "logs"),
      onLogLine,
      onRestart: (name, exit, waitMs) => say(`${name} ended (${exit}); starting it again in ${waitMs} ms`),
      onReady: (status, exit) => this.#onReady(status, exit),
    });
  }

  /** @throws MeshError that says what holds a port, what is missing or which process did not get ready. */
  static async start(options: MeshOptions, signal: AbortSignal): Promise<Mesh> {
    const { env, stateDir } = options;
    mkdirSync(join(stateDir, "logs"), { recursive: true, mode: 0o700 });
    const routingConfig = routingConfigPath(env);
    const bus = await openMeshBus({ ...options, routingConfig }, signal);
    const mesh = new Mesh(options, bus, await startToken(process.pid));
    try {
      await mesh.#startProcesses(env);
    } catch (error) {
      await mesh.stop();
      throw error;
    }
    return mesh;
  }

  get client(): MeshClient {
    return this.#bus.client;
  }

  get address(): BusAddress {
    return this.#bus.address;
  }

  get processes(): ProcessStatus[] {
    return this.#supervisor.statuses;
  }

  get busPid(): number | undefined {
    return this.#bus.pid;
  }

  /** In order: no new requests, no new jobs, then the nodes, the record of what happened, and the bus last. */
  async stop(): Promise<void> {
    removeMeshFile(this.#options.env);
    const names = this.#supervisor.statuses.map(({ name }) => name);
    const routers = names.filter((name) => name.startsWith("router"));
    // The standby first, or it would take the turn of the other one.
    const auditors = names.filter((name) => name.startsWith("auditor")).toSorted((a, b) => b.length - a.length);
    await this.#supervisor.stop(["gateway", ...routers, "agent", "egress", ...auditors]);
    await this.#bus.stop();
  }

  async #startProcesses(env: NodeJS.ProcessEnv): Promise<void> {
    const { auditors, egress, gatewayPort, routers, stateDir } = this.#options;
    const shared = {
      TIERMESH_HOME: this.#options.stateDir,
      ROUTING_CONFIG_PATH: routingConfigPath(env),
      // Halves the start of a process (0.67 s to 0.37 s here): compiled code is kept between starts.
      NODE_COMPILE_CACHE: env["NODE_COMPILE_CACHE"] ?? join(cacheDir({ env }), "compiled"),
      // Each process picks a free port of its own for /health and /metrics.
      TIERMESH_HEALTH_PORT: "0",
      // For the egress process only.
      TIERMESH_PROVIDERS: "",
    };
    const start = (name: string, folder: string, extra: Record<string, string> = {}, nodeFlags?: readonly string[]) =>
      this.#supervisor.start(
        {
          name,
          entry: join(ROOT, folder, "main.ts"),
          nodeFlags,
          env: { ...shared, ...busVariables(this.#bus.addressFor(name)), ...extra },
        },
        READY_LIMIT_MS,
      );
    const routerNames = Array.from({ length: routers }, (_, i) => (routers === 1 ? "router" : `router-${i + 1}`));
    await Promise.all([
      start("auditor", "auditor"),
      ...(auditors === 2 ? [start("auditor-2", "auditor", standbyVariables(env, stateDir))] : []),
      start(
        "agent",
        "agent",
        { ...THRIFTY_ENV, TIERMESH_PROFILE: ownProfile(env, this.#options.stateDir) },
        THRIFTY_FLAGS,
      ),
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
      this.#bus.events.record("process_started", { process, restarts: status.restarts, exit });
    } catch (error) {
      // A full disk or audit stream is no reason to take the mesh down.
      this.#options.log.warn({ err: error, process: status.name }, "a start could not be written down");
    }
  }

  #writeFile(): void {
    const { env, stateDir } = this.#options;
    const { address, keyFiles } = this.#bus;
    const agent = this.processes.find(({ name }) => name === "agent");
    writeMeshFile(env, {
      pid: process.pid,
      ...(this.#startToken === undefined ? {} : { start_token: this.#startToken }),
      started_at: this.#startedAt,
      version: VERSION,
      cell: address.cell ?? DEFAULT_CELL,
      nats_url: address.url,
      nats_user: address.user,
      nats_password: address.password,
      nats_nkey: address.nkeyFile,
      nats_ca: address.caFile,
      nats_tools_nkey: keyFiles?.tools,
      nats_client_nkey: keyFiles?.client,
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

/** The second auditor has a log of its own beside the first one's, and signs with that one's key. */
function standbyVariables(env: NodeJS.ProcessEnv, stateDir: string): Record<string, string> {
  const first = env["TIERMESH_AUDIT_DIR"] ?? join(stateDir, "audit");
  return {
    TIERMESH_AUDITOR_ID: "auditor-2",
    TIERMESH_AUDIT_DIR: `${first}-2`,
    TIERMESH_AUDIT_KEY: env["TIERMESH_AUDIT_KEY"] ?? join(first, "log-key"),
  };
}

/** File of a bus's first routing policy. */
export function routingConfigPath(env: NodeJS.ProcessEnv): string {
  return env["ROUTING_CONFIG_PATH"] ?? join(ROOT, "deploy", "routing.yaml");
}
