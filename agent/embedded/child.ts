import { spawn, type ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { z } from "zod";
import { entryArgs } from "../entries.ts";
import { EmbeddedError } from "./errors.ts";

/** How long loading may take, milliseconds: a slow disk and a big model of the user's own count too. */
const READY_LIMIT_MS = 120_000;
/** How long a stopping child may take before it is killed, milliseconds. */
const STOP_LIMIT_MS = 3_000;

/** What a native library and Node need to run; everything else (bus password, cloud keys) stays out of the child. */
const ENVIRONMENT =
  /^(PATH|HOME|USERPROFILE|SYSTEMROOT|WINDIR|APPDATA|LOCALAPPDATA|TMPDIR|TEMP|TMP|LANG|LC_\w+|TZ|LOG_LEVEL|LD_LIBRARY_PATH|DYLD_\w+|CUDA_\w+|NVIDIA_\w+|GGML_\w+|OMP_\w+|VK_\w+)$/i;

const ReadyLine = z.discriminatedUnion("ready", [
  z.object({
    ready: z.literal(true),
    port: z.number(),
    model: z.string(),
    context_length: z.number(),
    parallel_slots: z.number(),
  }),
  z.object({ ready: z.literal(false), error: z.string() }),
]);
export type Ready = Extract<z.infer<typeof ReadyLine>, { ready: true }>;

export interface ChildExit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface RuntimeChild {
  pid: number;
  ready: Ready;
  exited: Promise<ChildExit>;
  /** Asks it to end, and makes it end after 3 s. Returns when it is gone. */
  stop(): Promise<ChildExit>;
}

/**
 * Starts server.ts with `args` and waits until it serves. Aborting stops it again.
 * @throws EmbeddedError `start_failed`, or the signal's reason
 */
export async function startChild(
  options: { args: readonly string[]; env: NodeJS.ProcessEnv; token: string },
  signal?: AbortSignal,
): Promise<RuntimeChild> {
  signal?.throwIfAborted();
  const kept = Object.fromEntries(Object.entries(options.env).filter(([name]) => ENVIRONMENT.test(name)));
  const child = spawn(process.execPath, [...entryArgs("embedded"), ...options.args], {
    env: { ...kept, TIERMESH_RUNTIME_TOKEN: options.token },
    stdio: ["pipe", "pipe", "inherit"],
    windowsHide: true,
  });
  const exited = exitOf(child);
  const stop = async (): Promise<ChildExit> => {
    child.stdin.end();
    const kill = setTimeout(() => child.kill("SIGKILL"), STOP_LIMIT_MS);
    const exit = await exited;
    clearTimeout(kill);
    return exit;
  };
  // A child that died leaves a broken pipe behind; `exited` tells that better.
  child.stdin.on("error", () => undefined);
  try {
    const ready = await readyLine(child, exited, signal);
    return { pid: child.pid ?? 0, ready, exited, stop };
  } catch (error) {
    await stop();
    signal?.throwIfAborted();
    throw error;
  }
}

function exitOf(child: ChildProcess): Promise<ChildExit> {
  return new Promise((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
    // Could not even be spawned.
    child.once("error", () => resolve({ code: null, signal: null }));
  });
}

async function readyLine(
  child: ChildProcess,
  exited: Promise<ChildExit>,
  signal: AbortSignal | undefined,
): Promise<Ready> {
  if (child.stdout === null) throw new EmbeddedError("start_failed", "the embedded runtime has no standard output");
  const lines = createInterface({ input: child.stdout });
  const limit = AbortSignal.timeout(READY_LIMIT_MS);
  const any = signal === undefined ? limit : AbortSignal.any([signal, limit]);
  const first = new Promise<Ready>((resolve, reject) => {
    const fail = (why: string) =>
      reject(new EmbeddedError("start_failed", `the embedded runtime ${why}; its log lines are on standard error`));
    lines.on("line", (line) => {
      const parsed = ReadyLine.safeParse(parseJson(line));
      // Anything else is a native library talking.
      if (!parsed.success) return;
      if (parsed.data.ready) resolve(parsed.data);
      else fail(`could not start: ${parsed.data.error}`);
    });
    // After `close` of its lines: what it said last has been read by then.
    lines.once("close", () => {
      void exited.then(({ code, signal: by }) =>
        fail(`ended while it started (code ${String(code)}, signal ${String(by)})`),
      );
    });
    any.addEventListener("abort", () => fail(`was not ready in ${String(READY_LIMIT_MS / 1000)} s`), { once: true });
  });
  return first;
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
