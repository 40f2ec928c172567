import { mkdirSync, readFileSync, readdirSync, statSync } from "node:fs";
import { createServer, type Server } from "node:net";
import path from "node:path";
import type { Layout } from "../../agent/install/layout.ts";
import type { Machine } from "../../agent/install/machine.ts";
import { MADE_BY_US, type ServiceManager } from "../../agent/install/service-manager.ts";
import type { CommandResult } from "../../service/run-command.ts";
import { localStatus } from "./local-status.ts";

/** A real program of this system, which does nothing, to be installed. Linux only. */
export const SMALL_PROGRAM = "/bin/true";

export type Answer = (program: string, args: readonly string[]) => string | number | undefined;

/** A machine below a folder: its files are real, its commands are what `answer` says (output, an exit code, or undefined = not there). */
export class FakeMachine implements Machine {
  readonly platform = process.platform;
  readonly env: NodeJS.ProcessEnv = {};
  readonly root: string;
  privileged = true;
  /** What was run, in order. */
  readonly ran: string[] = [];
  answer: Answer;
  nowMs = Date.now;

  constructor(root: string, answer: Answer) {
    this.root = root;
    this.answer = answer;
  }

  at(file: string): string {
    return this.root === "" ? file : path.join(this.root, file);
  }

  async run(program: string, args: readonly string[]): Promise<CommandResult> {
    this.ran.push([path.basename(program), ...args].join(" "));
    const said = this.answer(program, args);
    if (said === undefined) return { code: null, stdout: "", stderr: `spawn ${program} ENOENT` };
    return typeof said === "number"
      ? { code: said, stdout: "", stderr: said === 0 ? "" : `${path.basename(program)} says no` }
      : { code: 0, stdout: said, stderr: "" };
  }

  async show(): Promise<number> {
    return 0;
  }
}

/** Every file below a folder with its content and rights, as `mode path content`: two machines are alike when these are. */
export function treeOf(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .map((entry) => path.join(entry.parentPath, entry.name))
    .map((file) => {
      const { mode } = statSync(file);
      const rights = (mode & 0o7777).toString(8);
      const isFolder = statSync(file).isDirectory();
      return `${rights} ${path.relative(root, file)} ${isFolder ? "/" : readFileSync(file).toString("base64").slice(0, 200)}`;
    })
    .toSorted();
}

/** All paths of an installed agent below one folder, as if that were the machine. */
export function layoutBelow(dir: string): Layout {
  mkdirSync(path.join(dir, "bin"), { recursive: true });
  return {
    service: "fake",
    account: "nobody",
    executable: path.join(dir, "bin/agent"),
    previous: path.join(dir, "bin/agent.previous"),
    configDir: path.join(dir, "etc"),
    record: path.join(dir, "etc/install.json"),
    stateDir: path.join(dir, "state"),
    cacheDir: path.join(dir, "cache"),
    runDir: path.join(dir, "run"),
    upgradeDir: path.join(dir, "upgrade"),
    logDir: null,
  };
}

/** A service manager whose service is a local socket that answers as the program's version does; `broken` versions never answer. */
export class FakeManager implements ServiceManager {
  readonly name = "fake";
  readonly broken = new Set<string>();
  running = false;
  enabled = false;
  restarts = 0;
  readonly #layout: Layout;
  readonly #version: () => string;
  #server: Server | undefined;

  /** @param version of the program that is installed now */
  constructor(layout: Layout, version: () => string) {
    this.#layout = layout;
    this.#version = version;
  }

  missing = async () => undefined;
  notRunning = () => undefined;
  definitions = () => [{ path: path.join(this.#layout.configDir, "unit"), text: `# ${MADE_BY_US}\n`, mode: 0o644 }];
  registration = () => [
    {
      name: "registered",
      take: async () => {
        if (this.enabled) return undefined;
        this.enabled = true;
        return () => void (this.enabled = false);
      },
    },
  ];
  unregister = async () => void (this.enabled = false);
  start = async () => {
    this.running = true;
    const version = this.#version();
    if (this.broken.has(version)) return;
    mkdirSync(this.#layout.runDir, { recursive: true });
    const status = localStatus({ version, pid: process.pid, bus_connected: true });
    this.#server = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.on("data", () => socket.end(JSON.stringify({ ok: true, agent: status })));
    });
    const listening = Promise.withResolvers<void>();
    this.#server.listen(path.join(this.#layout.runDir, "agent-n1.sock"), () => listening.resolve());
    await listening.promise;
  };
  stop = async () => {
    this.running = false;
    const server = this.#server;
    this.#server = undefined;
    await new Promise<void>((resolve) => (server === undefined ? resolve() : server.close(() => resolve())));
  };
  restart = async () => {
    this.restarts++;
    await this.stop();
    await this.start();
  };
  state = async () => ({
    installed: this.enabled,
    enabled: this.enabled,
    running: this.running,
    says: this.running ? "runs" : "does not run",
    pid: null,
  });
  logs = () => ({ program: "true", args: [] });
}
