import type { Log } from "./log.ts";

export type LifecycleState = "running" | "draining" | "closed";

/** How long an orderly stop may take before the process exits anyway, milliseconds. */
const STOP_LIMIT_MS = 10_000;

/**
 * `running → draining → closed`, once. What was opened last is closed first; a closer that throws does not keep the
 * others from running.
 */
export class Lifecycle {
  #state: LifecycleState = "running";
  readonly #closers: { name: string; close: () => void | Promise<void> }[] = [];
  readonly #abort = new AbortController();
  #closing: Promise<void> | undefined;
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  get state(): LifecycleState {
    return this.#state;
  }

  /** Aborts when draining begins. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Registers what to do at the stop; the last registered runs first. */
  onClose(name: string, close: () => void | Promise<void>): void {
    this.#closers.push({ name, close });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#state = "draining";
    this.#abort.abort();
    for (const { name, close } of this.#closers.reverse()) {
      try {
        await close();
      } catch (error) {
        this.#log.warn({ err: error, closer: name }, "a part did not close cleanly");
      }
    }
    this.#state = "closed";
  }
}

/**
 * Runs one process of the mesh: `main` opens everything and registers its closers; SIGINT, SIGTERM and, when
 * `TIERMESH_SUPERVISED=1`, the end of standard input (the supervisor died) close it in order.
 * Exit codes: 0 stopped when told, 1 `main` failed or something unexpected was thrown.
 */
export function runProcess(log: Log, main: (lifecycle: Lifecycle) => Promise<void>): void {
  const lifecycle = new Lifecycle(log);
  const stop = (why: string, code: number) => {
    if (lifecycle.state !== "running") return;
    log.info({ why }, "stopping");
    setTimeout(() => process.exit(code || 1), STOP_LIMIT_MS).unref();
    void lifecycle.close().then(() => process.exit(code));
  };
  process.on("SIGINT", () => stop("SIGINT", 0));
  process.on("SIGTERM", () => stop("SIGTERM", 0));
  process.on("uncaughtException", (error) => {
    log.fatal({ err: error }, "unexpected error");
    stop("unexpected error", 1);
  });
  if (process.env["TIERMESH_SUPERVISED"] === "1") {
    process.stdin.on("end", () => stop("the supervisor is gone", 0));
    process.stdin.on("error", () => stop("the supervisor is gone", 0));
    process.stdin.resume();
  }
  main(lifecycle).catch((error: unknown) => {
    log.fatal({ err: error }, error instanceof Error ? error.message : "could not start");
    stop("could not start", 1);
  });
}
