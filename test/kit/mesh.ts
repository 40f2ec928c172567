import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { readNkeyFile } from "../../service/access/nkey-file.ts";
import type { BusAddress } from "../../service/bus.ts";
import { busFiles } from "../../service/bus-server/server-config.ts";
import { cacheDir } from "../../service/paths.ts";
import { startTestBus } from "./bus.ts";
import { freePorts } from "./process-bus.ts";
import { startProc, type Proc } from "./proc.ts";
import type { Identity } from "./raw-nats.ts";
import { tempDir } from "./temp-dir.ts";

const MAIN = fileURLToPath(new URL("../../cli/main.ts", import.meta.url));
/** Two meshes may start at once on a small machine. */
const READY_LIMIT_MS = 60_000;

/** What `tiermesh up` writes for other commands (cli/mesh-file.ts), as far as tests use it. */
interface MeshFile {
  pid: number;
  nats_url: string;
  nats_nkey: string;
  nats_tools_nkey: string;
  nats_client_nkey: string;
  gateway_url: string;
  node_id: string;
  processes: { name: string; pid: number | null; state: string; restarts: number; health_port: number }[];
}

/** A whole mesh as a user has it: `tiermesh up` and all its processes, with the diagnostic runtime unless told otherwise. */
export interface TestMesh extends AsyncDisposable {
  proc: Proc;
  home: string;
  gatewayUrl: string;
  gatewayPort: number;
  busPort: number;
  /** For connectBus and MeshClient.connect: an operator's, or on an open bus one of somebody who may do everything. */
  address: BusAddress;
  /** For RawNats: an operator's second key, whose inboxes are where all make them; on an open bus as `address`. */
  tools: Identity;
  nodeId: string;
  env: Readonly<Record<string, string | undefined>>;
  /** As it is now. */
  file(): MeshFile;
  /** Of a part: router, agent, auditor, gateway, or nats-server. */
  pid(part: string): number;
  /** Every process of the mesh, the supervisor and the bus included. */
  pids(): number[];
  /** Runs `tiermesh <args>` against this mesh, to its end. */
  run(...args: string[]): Promise<{ code: number | null; out: string; err: string }>;
  /** The value of a counter or gauge of a part's /metrics: the sum over the lines that match. */
  metric(part: string, name: string, labels?: string): Promise<number>;
  /** Files of `folder` of the mesh's home, as text. */
  texts(folder: string): string[];
}

/**
 * Starts a mesh in a home of its own on free ports; resolves when its node is there.
 * @param args more flags of `tiermesh up`
 * @param busSettings as `tiermesh bus init` would have written them (cli/bus/bus-settings.ts)
 * @param openBus on a bus where everybody may do everything, for tests of what our code does when the broker lets all pass
 */
export async function startMesh(
  env: Readonly<Record<string, string | undefined>> = {},
  args: readonly string[] = [],
  { openBus = false, busSettings }: { openBus?: boolean; busSettings?: object } = {},
): Promise<TestMesh> {
  const open = openBus ? await startTestBus() : undefined;
  const folder = tempDir("tiermesh-mesh-");
  const home = folder.path;
  if (busSettings !== undefined) {
    mkdirSync(path.join(home, "bus"), { recursive: true, mode: 0o700 });
    writeFileSync(path.join(home, "bus", "bus.json"), JSON.stringify(busSettings));
  }
  const [gatewayPort = 0, busPort = 0] = await freePorts(2);
  const full = {
    TIERMESH_HOME: home,
    // Compiled code of earlier starts is kept there; without it each start takes twice as long.
    TIERMESH_CACHE_DIR: cacheDir({ env: process.env }),
    TIERMESH_EMBEDDED: "off",
    TIERMESH_LOOPBACK: "true",
    TIERMESH_NODE_ID: "here",
    TIERMESH_NATS_URL: open?.url,
    TIERMESH_NATS_USER: open?.user,
    TIERMESH_NATS_PASSWORD: open?.pass,
    LOG_LEVEL: "INFO",
    ...env,
  };
  const ports = ["--gateway-port", String(gatewayPort), "--bus-port", String(busPort)];
  const proc = startProc(MAIN, { args: ["up", "--no-first-job", "--json", ...ports, ...args], env: full });
  const file = () => JSON.parse(readFileSync(path.join(home, "mesh.json"), "utf8")) as MeshFile;
  const seen = new Set<number>();
  const dispose = async () => {
    for (const pid of descendants(proc.pid)) seen.add(pid);
    proc.kill("SIGTERM");
    const timer = setTimeout(() => proc.kill("SIGKILL"), 20_000);
    await proc.exited;
    clearTimeout(timer);
    for (const pid of seen) if (isAlive(pid)) process.kill(pid, "SIGKILL");
    await open?.stop();
    await folder.remove();
  };
  try {
    await proc.waitForLine(/"event":"ready"/, READY_LIMIT_MS);
    await proc.waitForLine(/"event":"node"/, READY_LIMIT_MS);
  } catch (error) {
    await dispose();
    throw error;
  }
  const { nats_url: url, nats_nkey, nats_tools_nkey, gateway_url: gatewayUrl, node_id: nodeId } = file();
  const password = open === undefined ? undefined : { user: open.user, password: open.pass };
  const part = (name: string) => {
    const found = file().processes.find((each) => each.name === name);
    if (found === undefined) throw new Error(`no part ${name}`);
    return found;
  };
  return {
    proc,
    home,
    gatewayUrl,
    gatewayPort,
    busPort: Number(new URL(url).port),
    address: { url, ...(password ?? { nkeyFile: nats_nkey }) },
    tools: password ?? readNkeyFile(nats_tools_nkey),
    nodeId,
    env: full,
    file,
    pid: (name) =>
      name === "nats-server"
        ? Number(readFileSync(busFiles(path.join(home, "bus")).pid, "utf8"))
        : (part(name).pid ?? 0),
    pids: () => {
      const all = [proc.pid, ...descendants(proc.pid)];
      for (const pid of all) seen.add(pid);
      return all;
    },
    run: (...args) => runCli(full, ...args),
    metric: async (name, metric, labels = "") => {
      const response = await fetch(`http://127.0.0.1:${part(name).health_port}/metrics`);
      const lines = (await response.text()).split("\n");
      const wanted = lines.filter((line) => line.startsWith(`tiermesh_${metric}`) && line.includes(labels));
      return wanted.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
    },
    texts: (name) =>
      readdirSync(path.join(home, name), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .flatMap((entry) => readIfThere(path.join(entry.parentPath, entry.name))),
    [Symbol.asyncDispose]: dispose,
  };
}

/** A file's bytes as text; none when it has gone since it was listed, as the auditor's partial tiles do. */
function readIfThere(file: string): string[] {
  try {
    return [readFileSync(file, "latin1")];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** Runs `tiermesh <args>` to its end. */
export async function runCli(env: TestMesh["env"], ...args: string[]): ReturnType<TestMesh["run"]> {
  const cli = startProc(MAIN, { args, env });
  cli.endInput();
  const { code } = await cli.exited;
  return { code, out: cli.lines.join("\n"), err: cli.errors.join("\n") };
}

/** Ids of the processes below `pid`, at any depth. */
export function descendants(pid: number): number[] {
  const parents = processParents();
  const found: number[] = [];
  for (let level = [pid]; level.length > 0; found.push(...level)) {
    level = parents.filter(({ parent }) => level.includes(parent)).map((each) => each.pid);
  }
  return found;
}

/** /proc where there is one, for small containers lack `ps`. */
function processParents(): { pid: number; parent: number }[] {
  if (existsSync("/proc/self/stat")) {
    return readdirSync("/proc").flatMap((name) => {
      if (!/^\d+$/.test(name)) return [];
      try {
        const [, parent] = /\) \S (\d+)/.exec(readFileSync(`/proc/${name}/stat`, "utf8")) ?? [];
        return [{ pid: Number(name), parent: Number(parent) }];
      } catch {
        return [];
      }
    });
  }
  const { stdout } = spawnSync("ps", ["-A", "-o", "pid=,ppid="], { encoding: "utf8" });
  return stdout
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number))
    .map(([pid = 0, parent = 0]) => ({ pid, parent }));
}

/** A process that has ended but was not yet collected by its parent counts as gone. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return !existsSync("/proc/self/stat");
  }
}

/** Polls `look` until it gives something; @throws Error naming `what` when `limitMs` is over. */
export async function eventually<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
  limitMs = 15_000,
): Promise<T> {
  const untilMs = performance.now() + limitMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > untilMs) throw new Error(`${what}: not within ${limitMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
