import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { tempDir, type TempDir } from "./temp-dir.ts";

export interface ProcOptions {
  args?: readonly string[];
  /** Another program than node; `entry` is then its first argument. */
  program?: string;
  /** For node itself. */
  nodeFlags?: readonly string[];
  /** Added to this process's environment; undefined removes a variable. */
  env?: Readonly<Record<string, string | undefined>>;
  cwd?: string;
}

export interface ProcExit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface Proc extends AsyncDisposable {
  pid: number;
  /** Standard output so far, line by line. */
  lines: readonly string[];
  /** Standard error so far, line by line. */
  errors: readonly string[];
  /**
   * The first line of standard output or standard error, past or future, that matches.
   * @throws Error when the process ends or `timeoutMs` passes first; it quotes the last lines.
   */
  waitForLine(pattern: RegExp, timeoutMs?: number): Promise<RegExpMatchArray>;
  write(text: string): void;
  /** Ends the process's standard input. */
  endInput(): void;
  kill(signal?: NodeJS.Signals): void;
  exited: Promise<ProcExit>;
}

/** State folder of programs that are given none; removed with this process. */
let home: TempDir | undefined;

/** Runs one of our programs, a `.ts` or `.js` file, as a process of its own. Disposing kills it and waits for its end. */
export function startProc(entry: string, options: ProcOptions = {}): Proc {
  const { args = [], program = process.execPath, nodeFlags = [], env = {}, cwd } = options;
  const child = spawn(program, [...nodeFlags, entry, ...args], {
    stdio: ["pipe", "pipe", "pipe"],
    // What the test runner set for itself is not for our programs, nor is the user's own mesh their home.
    env: {
      ...process.env,
      TIERMESH_HOME: (home ??= tempDir("tiermesh-home-")).path,
      NODE_OPTIONS: undefined,
      NODE_CHANNEL_FD: undefined,
      ...env,
    },
    ...(cwd === undefined ? {} : { cwd }),
  });
  const lines: string[] = [];
  const errors: string[] = [];
  const waiting = new Set<() => void>();
  const wake = () => {
    for (const look of waiting) look();
  };
  let exit: ProcExit | undefined;
  for (const [stream, into] of [
    [child.stdout, lines],
    [child.stderr, errors],
  ] as const) {
    createInterface({ input: stream }).on("line", (line) => {
      into.push(line);
      wake();
    });
  }
  child.stdin.on("error", () => {});
  const exited = new Promise<ProcExit>((resolve) => {
    const end = (code: number | null, signal: NodeJS.Signals | null) => {
      exit = { code, signal };
      resolve(exit);
      wake();
    };
    child.on("close", end);
    child.on("error", (error) => {
      errors.push(error.message);
      end(null, null);
    });
  });

  const waitForLine = (pattern: RegExp, timeoutMs = 10_000) =>
    new Promise<RegExpMatchArray>((resolve, reject) => {
      const timer = setTimeout(() => fail(`within ${timeoutMs} ms`), timeoutMs);
      function settle(action: () => void) {
        clearTimeout(timer);
        waiting.delete(look);
        action();
      }
      function fail(when: string) {
        const tail = [...lines.slice(-5), ...errors.slice(-5)].join("\n  ");
        settle(() => reject(new Error(`no line matched ${pattern} ${when}\n  ${tail}`)));
      }
      function look() {
        for (const line of [...lines, ...errors]) {
          const match = line.match(pattern);
          if (match !== null) return settle(() => resolve(match));
        }
        if (exit !== undefined) fail(`before the process ended (${exit.signal ?? exit.code})`);
      }
      waiting.add(look);
      look();
    });

  return {
    pid: child.pid ?? 0,
    lines,
    errors,
    waitForLine,
    write: (text) => void child.stdin.write(text),
    endInput: () => void child.stdin.end(),
    kill: (signal = "SIGTERM") => void child.kill(signal),
    exited,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await exited;
    },
  };
}
