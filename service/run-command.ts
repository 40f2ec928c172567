import { spawn } from "node:child_process";
import type { Environment } from "./config.ts";

export interface CommandResult {
  /** Exit code; null when a signal ended it, or when it could not be started. */
  code: number | null;
  stdout: string;
  /** The last 4,000 characters, or why it could not be started. */
  stderr: string;
}

export interface CommandOptions {
  env?: Environment;
  cwd?: string;
  /** The command is killed after this time, milliseconds. */
  timeoutMs: number;
}

/** Runs a program, without a shell, to its end. Never throws: a program that is not there is a result with code null. */
export function runCommand(
  program: string,
  args: readonly string[],
  options: CommandOptions,
  signal?: AbortSignal,
): Promise<CommandResult> {
  return new Promise((resolve) => {
    let stdout = "";
    let stderr = "";
    const limit = AbortSignal.timeout(options.timeoutMs);
    const child = spawn(program, args, {
      stdio: ["ignore", "pipe", "pipe"],
      windowsHide: true,
      signal: signal === undefined ? limit : AbortSignal.any([limit, signal]),
      killSignal: "SIGKILL",
      ...(options.env === undefined ? {} : { env: { ...options.env } }),
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr = (stderr + text).slice(-4000)));
    child.on("error", (error) => {
      const why = limit.aborted ? `took longer than ${Math.round(options.timeoutMs / 1000)} s` : error.message;
      resolve({ code: null, stdout, stderr: stderr === "" ? why : `${stderr}\n${why}` });
    });
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}

/** Our own settings (they hold the bus password) are nobody's business but ours. */
export function withoutOwnSettings(env: Environment): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.toUpperCase().startsWith("TIERMESH_")));
}
