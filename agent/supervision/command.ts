import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { MeshError } from "../../bus-schemas/index.ts";
import { endProcess } from "../../service/bus-server/leftover.ts";
import { startToken } from "../../service/process-info.ts";
import { withoutOwnSettings } from "../../service/run-command.ts";
import { within } from "../../service/within.ts";
import type { Means } from "./means.ts";
import type { ManagedRuntime } from "./settings.ts";

/** A runtime that is told to stop gets so long before it is killed, milliseconds: it has nothing of ours to save. */
const STOP_LIMIT_MS = 2500;

const Leftover = z.object({ pid: z.number().int().min(2), token: z.string().min(1) });

export interface CommandParts {
  settings: Pick<ManagedRuntime, "env" | "cwd" | "log_file"> & { command: string[] };
  /** Keeps the process's id, so that an agent that was killed finds what it left behind. */
  pidFile: string;
  env: NodeJS.ProcessEnv;
  /** It ended, and we had not told it to. @param how `exit 1`, `SIGSEGV` */
  onExit: (how: string) => void;
}

/** A program that the agent runs itself, in a process group of its own: servers start workers, and all of them hold the GPU. */
export class CommandMeans implements Means {
  readonly #parts: CommandParts;
  readonly description: string;
  #child: { process: ChildProcess; exited: Promise<void> } | undefined;

  constructor(parts: CommandParts) {
    this.#parts = parts;
    this.description = "the agent runs its command";
  }

  async restart(signal: AbortSignal): Promise<void> {
    const { settings, pidFile } = this.#parts;
    await this.stop();
    signal.throwIfAborted();
    const [program = "", ...args] = settings.command;
    const log = this.#openLog();
    const child = spawn(program, args, {
      cwd: settings.cwd,
      env: { ...withoutOwnSettings(this.#parts.env), ...settings.env },
      stdio: ["ignore", log ?? "ignore", log ?? "ignore"],
      detached: process.platform !== "win32",
      windowsHide: true,
    });
    if (log !== undefined) closeSync(log);
    const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    const started = new Promise<string | undefined>((resolve) => {
      child.once("spawn", () => resolve(undefined));
      child.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? "unknown reason"));
    });
    const failure = await started;
    if (failure !== undefined) throw new MeshError("runtime_failed", `its command cannot be started (${failure})`);
    const mine = { process: child, exited };
    this.#child = mine;
    // An agent that takes too long to stop ends at once, and what it has started must not stay behind.
    const onOurEnd = () => kill(child.pid, "SIGKILL");
    process.on("exit", onOurEnd);
    const onEnded = (how: string) => {
      process.off("exit", onOurEnd);
      if (this.#child !== mine) return;
      this.#child = undefined;
      // Workers that outlive their parent would hold its port and memory.
      kill(child.pid, "SIGKILL");
      this.#parts.onExit(how);
    };
    child.once("exit", (code, by) => onEnded(by ?? `exit ${code}`));
    if (child.exitCode !== null || child.signalCode !== null) onEnded(child.signalCode ?? `exit ${child.exitCode}`);
    else writePid(pidFile, child.pid, await startToken(child.pid ?? 0));
  }

  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    // One that an agent that was killed left behind went on answering: its model was spared a load.
    if (child === undefined) return endLeftover(this.#parts.pidFile);
    kill(child.process.pid, "SIGTERM");
    await within(child.exited, STOP_LIMIT_MS);
    kill(child.process.pid, "SIGKILL");
    await within(child.exited, STOP_LIMIT_MS);
    rmSync(this.#parts.pidFile, { force: true });
  }

  #openLog(): number | undefined {
    const file = this.#parts.settings.log_file;
    if (file === undefined) return undefined;
    try {
      return openSync(file, "a", 0o600);
    } catch (cause) {
      const why = (cause as NodeJS.ErrnoException).code ?? "unknown reason";
      throw new MeshError("runtime_failed", `its log_file cannot be written (${why})`, { cause });
    }
  }
}

/** A later process may have the same id, but not the same start as well. */
function writePid(file: string, pid: number | undefined, token: string | undefined): void {
  if (token !== undefined) writeFileSync(file, JSON.stringify({ pid, token }), { mode: 0o600 });
}

/** What an agent that was killed left running. */
async function endLeftover(file: string): Promise<void> {
  let left: unknown;
  try {
    left = JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return;
  }
  const { data } = Leftover.safeParse(left);
  if (data === undefined || (await startToken(data.pid)) !== data.token) return;
  await endProcess(data.pid, STOP_LIMIT_MS);
  kill(data.pid, "SIGKILL");
  rmSync(file, { force: true });
}

/** The whole group, where there are groups. */
function kill(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(process.platform === "win32" ? pid : -pid, signal);
  } catch {
    // All of it has ended.
  }
}
