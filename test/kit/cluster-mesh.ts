import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { jetstreamManager } from "@nats-io/jetstream";
import { connectBus, type BusAddress } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { cacheDir } from "../../service/paths.ts";
import { makeHosts, type Host, type Hosts } from "./hosts.ts";
import { eventually } from "./mesh.ts";
import { Part } from "./part.ts";

const CLI = fileURLToPath(new URL("../../cli/main.ts", import.meta.url));
const RUNTIME = fileURLToPath(new URL("fake-runtime.ts", import.meta.url));
const SERVERS = 3;

/** Where things listen: on machines of their own always the same, else somewhere for each run. */
function ports(shared: string | undefined): Record<"client" | "route" | "gateway" | "runtime", number> {
  const base = shared === undefined ? 24_222 : 20_000 + (process.pid % 500) * 20;
  return { client: base, route: base + 1, gateway: base + 2, runtime: base + 8 };
}

export interface ClusterMeshOptions {
  /** Where homes, logs and notes go. */
  folder: string;
  /** Of all that is made in the network, at most 8 characters. */
  tag: string;
  /** Agents of layer L1, one with a fake runtime of its own each; spread over the hosts. */
  agents?: number;
  /** One egress agent of layer L2 with a fake cloud. */
  egress?: boolean;
  gateways?: number;
  /** Of each runtime. */
  slots?: number;
  /** The fake models' way of writing. */
  pieces?: number;
  pieceEveryMs?: number;
  logLevel?: string;
  /** As `tiermesh bus init --tls`. */
  tls?: string;
  /** With a second auditor, on the second machine. */
  standby?: boolean;
}

/**
 * A mesh on three machines as a company runs it, made by the product's own commands: a bundle for each server, `bus run`,
 * `run router|gateway|auditor`, agents that joined by a token, with fake runtimes beside them.
 */
export class ClusterMesh {
  readonly folder: string;
  readonly hosts: readonly Host[];
  /** Why the hosts share one network; undefined when each has its own. */
  readonly shared: string | undefined;
  readonly parts = new Map<string, Part>();
  readonly slots: number;
  readonly pieces: number;
  readonly #network: Hosts;
  readonly #ports: ReturnType<typeof ports>;
  readonly #options: ClusterMeshOptions;

  private constructor(options: ClusterMeshOptions, network: Hosts) {
    this.folder = options.folder;
    this.hosts = network.hosts;
    this.shared = network.shared;
    this.slots = options.slots ?? 4;
    this.pieces = options.pieces ?? 6;
    this.#network = network;
    this.#ports = ports(network.shared);
    this.#options = options;
  }

  static async start(options: ClusterMeshOptions): Promise<ClusterMesh> {
    mkdirSync(options.folder, { recursive: true });
    const mesh = new ClusterMesh(options, makeHosts(SERVERS, options.tag));
    try {
      await mesh.#start();
    } catch (error) {
      await mesh.stop();
      throw error;
    }
    return mesh;
  }

  get bundle(): string {
    return path.join(this.folder, "bundle");
  }

  get gatewayUrls(): string[] {
    return this.names("gateway").map((name) => {
      const { host, facts } = this.part(name);
      return `http://${host.address}:${Number(facts["port"])}`;
    });
  }

  /** How a program of a role connects. */
  access(role: "client" | "operator" | "monitor" | "router"): BusAddress {
    const folder = path.join(this.bundle, "access", role);
    const { urls, cell } = JSON.parse(readFileSync(path.join(folder, "access.json"), "utf8")) as {
      urls: string[];
      cell: string;
    };
    const ca = path.join(folder, "ca.pem");
    return {
      url: urls.join(","),
      nkeyFile: path.join(folder, `${role}.nk`),
      caFile: existsSync(ca) ? ca : undefined,
      cell,
    };
  }

  part(name: string): Part {
    const part = this.parts.get(name);
    if (part === undefined) throw new Error(`no part ${name}`);
    return part;
  }

  /** Names of all parts of a kind: bus, router, gateway, auditor, agent, runtime. */
  names(kind: string): string[] {
    return [...this.parts.keys()].filter((name) => name.startsWith(`${kind}-`));
  }

  /** Process id of a server's nats-server. */
  serverPid(bus: string): number {
    return Number(readFileSync(path.join(this.home(bus), "bus", "nats-server.pid"), "utf8"));
  }

  home(name: string): string {
    const server = /^bus-(\d)$/.exec(name)?.[1];
    return server === undefined ? path.join(this.folder, "homes", name) : path.join(this.bundle, `n${server}`);
  }

  /** Runs `tiermesh <args>` as the operator, to its end. */
  run(...args: string[]): string {
    return this.#cli(this.home("operator"), args);
  }

  /** Resolves when every stream has all its replicas, none behind. @throws Error when that takes longer than a minute */
  async replicasCurrent(): Promise<void> {
    const bus = await connectBus("replicas", this.access("operator"), createLog("replicas", "silent"));
    try {
      const manager = await jetstreamManager(bus.nc, { checkAPI: false, timeout: 1000 });
      const { auditStream, policyBucket, qualityBucket } = bus.subjects;
      for (const stream of [auditStream, policyBucket.stream, qualityBucket.stream]) {
        await eventually(
          `${stream} to have its replicas`,
          async () => {
            const { cluster } = (await manager.streams.info(stream).catch(() => undefined)) ?? {};
            const others = cluster?.replicas ?? [];
            return cluster?.leader !== undefined && others.length === SERVERS - 1 && others.every((r) => r.current);
          },
          60_000,
        );
      }
    } finally {
      await bus.nc.close();
    }
  }

  async stop(): Promise<void> {
    const kinds = ["gateway", "router", "agent", "auditor", "runtime"];
    for (const kind of kinds) await Promise.all(this.names(kind).map((name) => this.part(name).stop(20_000)));
    // All at once: none is left to send clients to.
    await Promise.all(this.names("bus").map((name) => this.part(name).stop(60_000)));
    this.#network.close();
  }

  async #start(): Promise<void> {
    const routes = this.hosts.map(({ address }) => `${address}:${this.#ports.route}`).join(",");
    const init = ["bus", "init", "--cluster", "test", "--routes", routes, "--port", String(this.#ports.client)];
    const { tls } = this.#options;
    this.#cli(this.home("operator"), [...init, ...(tls === undefined ? [] : ["--tls", tls]), "--out", this.bundle]);
    cpSync(path.join(this.bundle, "access", "operator"), path.join(this.home("operator"), "access"), {
      recursive: true,
    });
    for (const [i, host] of this.hosts.entries())
      this.#add(`bus-${i + 1}`, host, ["bus", "run", "--json"], {}, /"event":"ready"/);
    await Promise.all(this.names("bus").map((name) => this.part(name).start()));
    for (const [i, host] of this.hosts.entries()) {
      this.#add(`router-${i + 1}`, host, ["run", "router", "--id", `router-${i + 1}`], {}, READY, "router");
    }
    const { agents = 3, egress = false, gateways = 2 } = this.#options;
    for (let i = 1; i <= gateways; i++) {
      const host = this.#host(i);
      const port = String(this.#ports.gateway + i);
      const args = ["run", "gateway", "--host", host.address, "--port", port];
      this.#add(`gateway-${i}`, host, args, {}, READY, "gateway");
    }
    this.#add("auditor-1", this.#host(3), ["run", "auditor"], {}, READY, "auditor");
    if (this.#options.standby === true) {
      const args = [
        "run",
        "auditor",
        "--id",
        "auditor-2",
        "--key",
        path.join(this.home("auditor-1"), "audit", "log-key"),
      ];
      this.#add("auditor-2", this.#host(2), args, {}, READY, "auditor");
    }
    for (let i = 1; i <= agents; i++) this.#addAgent(`agent-${i}`, this.#host(i), "L1", this.#ports.runtime + i);
    if (egress) this.#addAgent("agent-cloud", this.#host(3), "L2", this.#ports.runtime);
    await Promise.all(this.names("runtime").map((name) => this.part(name).start()));
    const rest = ["auditor", "router", "gateway", "agent"].flatMap((kind) => this.names(kind));
    await Promise.all(rest.map((name) => this.part(name).start()));
  }

  #addAgent(name: string, host: Host, layer: string, port: number): void {
    const runtime = name.replace("agent", "runtime");
    const { pieceEveryMs = 20 } = this.#options;
    const notes = path.join(this.folder, "notes", `${runtime}.ndjson`);
    mkdirSync(path.dirname(notes), { recursive: true });
    const shape = ["--slots", String(this.slots), "--pieces", String(this.pieces), "--every-ms", String(pieceEveryMs)];
    const args = ["--port", String(port), "--notes", notes, ...shape];
    this.parts.set(runtime, this.#part(runtime, host, RUNTIME, args, {}, READY));
    const home = this.home(name);
    mkdirSync(home, { recursive: true });
    const url = `http://127.0.0.1:${port}`;
    const env: Record<string, string> = { TIERMESH_EMBEDDED: "off", TIERMESH_LOOPBACK: "false", CLOUD_KEY: "sk-none" };
    if (layer === "L2") {
      env["TIERMESH_PROVIDERS"] = path.join(home, "providers.yaml");
      writeFileSync(env["TIERMESH_PROVIDERS"], providers(url, this.slots));
    } else env["TIERMESH_RUNTIMES"] = url;
    const token = this.run("node", "add", name, "--layer", layer).trim();
    this.#add(name, host, ["agent", "run", "--json", "--join", token], env, READY);
  }

  #add(
    name: string,
    host: Host,
    args: readonly string[],
    env: Record<string, string>,
    ready: RegExp,
    role?: string,
  ): void {
    const home = this.home(name);
    mkdirSync(home, { recursive: true });
    if (role !== undefined) {
      const access = path.join(home, "access");
      rmSync(access, { recursive: true, force: true });
      cpSync(path.join(this.bundle, "access", role), access, { recursive: true });
    }
    this.parts.set(name, this.#part(name, host, CLI, args, { TIERMESH_HOME: home, ...env }, ready));
  }

  #part(
    name: string,
    host: Host,
    entry: string,
    args: readonly string[],
    env: Record<string, string>,
    ready: RegExp,
  ): Part {
    const shared = { ...this.#env(), ...env };
    return new Part({ name, host, entry, args, env: shared, ready, logDir: path.join(this.folder, "logs") });
  }

  #host(number: number): Host {
    const host = this.hosts[(number - 1) % this.hosts.length];
    if (host === undefined) throw new Error("no host");
    return host;
  }

  #env(): Record<string, string> {
    const cache = cacheDir({ env: process.env });
    // Compiled code is kept between starts: each takes half as long.
    return {
      TIERMESH_CACHE_DIR: cache,
      NODE_COMPILE_CACHE: path.join(cache, "compiled"),
      LOG_LEVEL: this.#options.logLevel ?? "WARN",
    };
  }

  #cli(home: string, args: readonly string[]): string {
    const env = { ...process.env, ...this.#env(), TIERMESH_HOME: home, TIERMESH_NATS_URL: "" };
    return execFileSync(process.execPath, [CLI, ...args], { env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  }
}

const READY = /"ready":true/;

function providers(url: string, slots: number): string {
  return `providers:
  - {name: cloud, kind: openai, base_url: "${url}/v1", key_env: CLOUD_KEY, max_concurrency: ${slots},
     models: [{name: gemma3-270m, upstream: gemma3-270m, context_length: 8192}]}
`;
}
