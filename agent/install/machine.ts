import { spawn } from "node:child_process";
import path from "node:path";
import { runCommand, type CommandResult } from "../../service/run-command.ts";

/** A service manager answers within seconds; a stop waits for an agent that drains. Milliseconds. */
const COMMAND_LIMIT_MS = 90_000;

/**
 * The machine that is installed on, as far as an installation touches it: its commands, and where its root is. With another root than
 * `/` it is an image that does not run: files are written there and nothing is started.
 */
export interface Machine {
  platform: NodeJS.Platform;
  env: NodeJS.ProcessEnv;
  /** Empty for the running machine, else the folder that holds the image. */
  root: string;
  /** Whether this process may change the system. */
  privileged: boolean;
  nowMs: () => number;
  /** Where a path of the machine lies. */
  at(file: string): string;
  /** Never throws: a program that is not there is a result with code null. */
  run(program: string, args: readonly string[], options?: { timeoutMs?: number }): Promise<CommandResult>;
  /** Runs a program in the foreground, with this terminal. @returns its exit code */
  show(program: string, args: readonly string[]): Promise<number>;
}

export function thisMachine(root = "", platform: NodeJS.Platform = process.platform): Machine {
  const uid = process.getuid?.();
  return {
    platform,
    env: process.env,
    root,
    // On Windows nobody can tell without trying; what is refused there says so.
    privileged: root !== "" || uid === undefined || uid === 0,
    nowMs: Date.now,
    at: (file) => (root === "" ? file : path.join(root, file)),
    run: (program, args, { timeoutMs = COMMAND_LIMIT_MS } = {}) => runCommand(program, args, { timeoutMs }),
    show: (program, args) =>
      new Promise((resolve) => {
        const child = spawn(program, args, { stdio: "inherit" });
        child.on("error", () => resolve(127));
        child.on("exit", (code) => resolve(code ?? 1));
      }),
  };
}
