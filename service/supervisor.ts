import { spawn, type ChildProcess } from "node:child_process";
import { createWriteStream, type WriteStream } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { MeshError } from "../bus-schemas/index.ts";
import { within } from "./within.ts";

/** One process of the mesh, as its supervisor starts it. */
export interface ProcessSpec {
  name: string;
  /** Path of its main.ts. */
  entry: string;
  /** For node itself, before the entry. */
  nodeFlags?: readonly string[] | undefined;
  env: Readonly<Record<string, string>>;
}

export interface ProcessStatus {
  name: string;
  pid: number | undefined;
  state: "starting" | "ready" | "restarting" | "stopped";
  restarts: number;
  /** What its ready line said: ports, ids. */
  facts: Record<string, unknown>;
}

export interface SupervisorOptions {
  /** Where each process's standard error goes, `<name>.log`. */
  logDir: string;
  /** Called when a process ended and will be started again. */
  onRestart?: (name: string, exit: string, waitMs: number) => void;
  /** Called at each ready line. */
  onReady?: (status: ProcessStatus, exit: string | null) => void;
  /** A line of a process's log, at most one call per line. */
  onLogLine?: (name: string, line: string) => void;
  /** Default 12 s. */
  stopLimitMs?: number;
}

/** Pause before a process is started again, milliseconds; doubles up to the limit, starts over after a good run. */
const RESTART_MS = { first: 100, limit: 10_000, goodRun: 10_000 };
/** A process that is told to stop gets this long, milliseconds; then it is killed. */
const STOP_LIMIT_MS = 12_000;
/** A process that has ended is waited for this long until its last log lines are read, milliseconds. */
const LAST_LINES_LIMIT_MS = 500;

interface Entry {
  spec: ProcessSpec;
  status: ProcessStatus;
  child: ChildProcess | undefined;
  log: WriteStream;
  waitMs: number;
  lastExit: string | null;
  ready: PromiseWithResolvers<ProcessStatus>;
  timer: NodeJS.Timeout | undefined;
}

/**
 * Starts processes and starts again what dies. Each child holds our end of its standard input: when we die, even by
 * kill -9, it reads the end of it and stops (service/lifecycle.ts), so nothing is orphaned.
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #entries = new Map<string, Entry>();
  #stopping = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  get statuses(): ProcessStatus[] {
    return [...this.#entries.values()].map((entry) => entry.status);
  }

  /** Starts a process; resolves at its first ready line, rejects when it does not come within `limitMs`. */
  async start(spec: ProcessSpec, limitMs: number): Promise<ProcessStatus> {
    const log = createWriteStream(join(this.#options.logDir, `${spec.name}.log`), { flags: "a", mode: 0o600 });
    log.on("error", () => undefined);
    const status: ProcessStatus = { name: spec.name, pid: undefined, state: "starting", restarts: 0, facts: {} };
    const entry: Entry = {
      spec,
      status,
      child: undefined,
      log,
      waitMs: RESTART_MS.first,
      lastExit: null,
      ready: Promise.withResolvers(),
      timer: undefined,
    };
    this.#entries.set(spec.name, entry);
    this.#spawn(entry);
    const limit = setTimeout(() => {
      entry.ready.reject(
        new MeshError(
          "internal",
          `${spec.name} did not get ready within ${limitMs / 1000} s; see ${join(this.#options.logDir, `${spec.name}.log`)}`,
        ),
      );
    }, limitMs);
    return entry.ready.promise.finally(() => clearTimeout(limit));
  }

  /** Stops all in the order given, then the rest; each is told, waited for, and killed only at the limit. */
  async stop(order: readonly string[] = []): Promise<void> {
    this.#stopping = true;
    for (const { spec, ready } of this.#entries.values())
      ready.reject(new MeshError("internal", `${spec.name} was stopped before it got ready`));
    const rest = [...this.#entries.keys()].filter((name) => !order.includes(name));
    for (const name of [...order, ...rest]) {
      const entry = this.#entries.get(name);
      if (entry !== undefined) await this.#stopOne(entry);
    }
  }

  #spawn(entry: Entry): void {
    const startedAtMs = performance.now();
    // A group of its own: Ctrl-C reaches the supervisor alone, which stops the others in order.
    const child = spawn(process.execPath, [...(entry.spec.nodeFlags ?? []), entry.spec.entry], {
      // The launcher's process is for us to watch (cli/up/when-told.ts), not for them.
      env: { ...process.env, ...entry.spec.env, TIERMESH_SUPERVISED: "1", TIERMESH_PARENT_PID: undefined },
      stdio: ["pipe", "pipe", "pipe"],
      detached: process.platform !== "win32",
      windowsHide: true,
    });
    entry.child = child;
    entry.status.pid = child.pid;
    child.stdin.on("error", () => undefined);
    createInterface({ input: child.stdout }).on("line", (line) => this.#onLine(entry, line));
    createInterface({ input: child.stderr }).on("line", (line) => {
      entry.log.write(`${line}\n`);
      this.#options.onLogLine?.(entry.spec.name, line);
    });
    const onExit = (exit: string) => {
      if (entry.child === child) this.#onExit(entry, exit, performance.now() - startedAtMs);
    };
    child.on("error", (error) => {
      if (child.pid !== undefined) return; // it runs, but a signal could not be sent
      entry.log.write(`could not be started: ${error.message}\n`);
      onExit("could not be started");
    });
    // Not `close`: a grandchild that inherited standard error would hold that up.
    child.on("exit", (code, signal) => onExit(signal ?? `exit ${code}`));
  }

  #onLine(entry: Entry, line: string): void {
    const facts = parseReady(line);
    if (facts === undefined) return;
    entry.status.facts = facts;
    entry.status.state = "ready";
    this.#options.onReady?.(entry.status, entry.lastExit);
    entry.ready.resolve(entry.status);
  }

  #onExit(entry: Entry, exit: string, ranMs: number): void {
    entry.status.pid = undefined;
    entry.child = undefined;
    entry.status.state = this.#stopping ? "stopped" : "restarting";
    if (this.#stopping) return;
    entry.lastExit = exit;
    entry.status.restarts++;
    if (ranMs > RESTART_MS.goodRun) entry.waitMs = RESTART_MS.first;
    this.#options.onRestart?.(entry.spec.name, exit, entry.waitMs);
    entry.timer = setTimeout(() => {
      if (!this.#stopping) this.#spawn(entry);
    }, entry.waitMs);
    entry.waitMs = Math.min(entry.waitMs * 2, RESTART_MS.limit);
  }

  async #stopOne(entry: Entry): Promise<void> {
    clearTimeout(entry.timer);
    const child = entry.child;
    if (child !== undefined) {
      const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
      const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
      const kill = setTimeout(() => child.kill("SIGKILL"), this.#options.stopLimitMs ?? STOP_LIMIT_MS);
      // Windows has no SIGTERM; the end of standard input says the same there.
      if (process.platform === "win32") child.stdin?.end();
      else child.kill("SIGTERM");
      await exited;
      clearTimeout(kill);
      await within(closed, LAST_LINES_LIMIT_MS);
    }
    entry.status.state = "stopped";
    await new Promise<void>((resolve) => entry.log.end(() => resolve()));
  }
}

function parseReady(line: string): Record<string, unknown> | undefined {
  try {
    const value = JSON.parse(line) as Record<string, unknown> | null;
    return value?.["ready"] === true ? value : undefined;
  } catch {
    return undefined;
  }
}
