import { spawn, type ChildProcess } from "node:child_process";
import { win32 } from "node:path";
import type { CommandOutput } from "./probe.ts";

/**
 * `not_found`: no such program. `denied`: it may not be run. `timeout`, `too_large`, `aborted`: it was killed.
 * `unkillable`: it was killed and is still there (a driver holds it in the kernel). `still_running`: not started, because an earlier one has not ended.
 */
export type CommandFailure =
  | "not_found"
  | "denied"
  | "broken"
  | "timeout"
  | "too_large"
  | "aborted"
  | "unkillable"
  | "still_running";

export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly failure: CommandFailure;

  constructor(failure: CommandFailure, program: string) {
    super(`${program}: ${failure}`);
    this.failure = failure;
  }
}

export interface CommandLimits {
  timeoutMs: number;
  /** Of stdout and of stderr each, bytes. */
  maxOutputBytes: number;
  env: Readonly<Record<string, string | undefined>>;
}

/** A killed process is gone within milliseconds, unless it hangs in the kernel. Milliseconds. */
const KILL_GRACE_MS = 1000;

/**
 * Runs programs, each at most once at a time. A program that hangs inside a driver cannot be killed; starting another beside it
 * would hang too and pile up, so the program counts as running until the operating system says that it ended.
 */
export class CommandRunner {
  readonly #live = new Map<string, ChildProcess>();

  run(program: string, args: readonly string[], limits: CommandLimits, signal: AbortSignal): Promise<CommandOutput> {
    return this.#runOnce(program, args, limits.env, (child, key) => collect(child, key, limits, signal), signal);
  }

  async #runOnce(
    program: string,
    args: readonly string[],
    env: CommandLimits["env"],
    read: (child: PipedChild, name: string) => Promise<CommandOutput>,
    signal: AbortSignal,
  ): Promise<CommandOutput> {
    const key = programName(program);
    if (signal.aborted) throw new CommandError("aborted", key);
    if (this.#live.has(key)) throw new CommandError("still_running", key);
    const child = spawn(program, args, {
      stdio: ["ignore", "pipe", "pipe"],
      windowsHide: true,
      env: { ...env },
    });
    this.#live.set(key, child);
    const exited = new Promise<void>((resolve) => {
      const gone = () => {
        this.#live.delete(key);
        resolve();
      };
      child.once("exit", gone);
      // No exit follows when the process never came to be.
      child.on("error", () => child.pid === undefined && gone());
    });
    try {
      return await read(child, key);
    } catch (error) {
      child.kill("SIGKILL");
      child.stdout.destroy();
      child.stderr.destroy();
      if (!(await endsWithin(exited, KILL_GRACE_MS))) throw new CommandError("unkillable", key);
      throw error;
    }
  }

  /**
   * Runs a program that goes on by itself and hands over its lines, until it ends or `signal` aborts. What it writes is not kept but
   * for the beginning. @throws CommandError as `run`; `too_large` for a line without end
   */
  follow(
    program: string,
    args: readonly string[],
    env: CommandLimits["env"],
    onLine: (line: string) => void,
    signal: AbortSignal,
  ): Promise<CommandOutput> {
    return this.#runOnce(program, args, env, (child, key) => followLines(child, key, onLine, signal), signal);
  }

  /** For the end of the process: no other is left behind. */
  killAll(): void {
    for (const child of this.#live.values()) child.kill("SIGKILL");
  }
}

type PipedChild = ChildProcess & { stdout: NodeJS.ReadableStream; stderr: NodeJS.ReadableStream };

/** Settles `promise` when the program ends or cannot be started, or `signal` aborts; `fail` for every other reason. */
function watch(child: ChildProcess, name: string, signal: AbortSignal, output: () => Omit<CommandOutput, "code">) {
  const { promise, resolve, reject } = Promise.withResolvers<CommandOutput>();
  const fail = (failure: CommandFailure) => {
    signal.removeEventListener("abort", onAbort);
    reject(new CommandError(failure, name));
  };
  const onAbort = () => fail("aborted");
  signal.addEventListener("abort", onAbort, { once: true });
  child.once("error", (error: NodeJS.ErrnoException) => {
    fail(
      error.code === "ENOENT" ? "not_found" : error.code === "EACCES" || error.code === "EPERM" ? "denied" : "broken",
    );
  });
  child.once("close", (code) => {
    signal.removeEventListener("abort", onAbort);
    resolve({ code, ...output() });
  });
  return { promise, fail };
}

async function collect(
  child: PipedChild,
  name: string,
  limits: CommandLimits,
  signal: AbortSignal,
): Promise<CommandOutput> {
  const stdout = gather(child.stdout, limits.maxOutputBytes, () => fail("too_large"));
  const stderr = gather(child.stderr, limits.maxOutputBytes, () => fail("too_large"));
  const { promise, fail } = watch(child, name, signal, () => ({ stdout: stdout(), stderr: stderr() }));
  const timer = setTimeout(() => fail("timeout"), limits.timeoutMs);
  return promise.finally(() => clearTimeout(timer));
}

/** A line of a tool that is followed is some hundred characters. */
const MAX_LINE_CHARS = 64 * 1024;

function followLines(
  child: PipedChild,
  name: string,
  onLine: (line: string) => void,
  signal: AbortSignal,
): Promise<CommandOutput> {
  let beginning = "";
  let rest = "";
  const { promise, fail } = watch(child, name, signal, () => ({ stdout: beginning, stderr: "" }));
  child.stdout.setEncoding("utf8");
  child.stdout.on("data", (piece: string) => {
    if (beginning.length < MAX_LINE_CHARS) beginning += piece.slice(0, MAX_LINE_CHARS);
    const lines = (rest + piece).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > MAX_LINE_CHARS) fail("too_large");
    for (const line of lines) onLine(line);
  });
  child.stderr.resume();
  return promise;
}

function gather(stream: NodeJS.ReadableStream, maxBytes: number, onTooLarge: () => void): () => string {
  const chunks: Buffer[] = [];
  let bytes = 0;
  stream.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > maxBytes) onTooLarge();
    else chunks.push(chunk);
  });
  return () => Buffer.concat(chunks).toString("utf8");
}

async function endsWithin(ended: Promise<void>, limitMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), limitMs);
  });
  return Promise.race([ended.then(() => true), late]).finally(() => clearTimeout(timer));
}

/** win32.basename knows both separators. */
function programName(program: string): string {
  return win32
    .basename(program)
    .toLowerCase()
    .replace(/\.exe$/, "");
}
