import { spawn } from "node:child_process";

/** How much of a failed command's output is kept, characters. */
const TAIL_CHARS = 2000;

export interface Command {
  file: string;
  args: readonly string[];
}

export interface CommandResult {
  /** Exit code; null when a signal ended it. */
  code: number | null;
  /** The end of standard output and error together. */
  tail: string;
}

/**
 * Runs a command to its end, without a shell.
 * @throws what spawn throws (`ENOENT` when there is no such program) and an AbortError when the signal aborts.
 */
export function runCommand(
  command: Command,
  options: { cwd: string; env: NodeJS.ProcessEnv },
  signal?: AbortSignal,
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command.file, command.args, {
      ...options,
      stdio: ["ignore", "pipe", "pipe"],
      windowsHide: true,
      ...(signal === undefined ? {} : { signal }),
    });
    let tail = "";
    const keep = (chunk: Buffer) => {
      tail = (tail + chunk.toString("utf8")).slice(-TAIL_CHARS);
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    // On abort this is spawn's AbortError, whose cause is the signal's reason.
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, tail }));
  });
}

/** Our own settings (they hold the bus password) are nobody's business but ours. */
export function withoutOwnSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.toUpperCase().startsWith("TIERMESH_")));
}
