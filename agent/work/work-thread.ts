import { Worker } from "node:worker_threads";
import { MeshError, type ModelProgress } from "../../bus-schemas/index.ts";
import type { Log } from "../../service/log.ts";
import { entryThread } from "../entries.ts";
import type { RuntimeProblem } from "../runtimes/discover.ts";
import type { ModelOrder, RuntimeChunk, RuntimeJob, RuntimeState } from "../runtimes/runtime.ts";
import type { EmbeddedEndpoint, FromWorker, ToWorker, WorkerConfig } from "./protocol.ts";

export interface RunHandlers {
  onChunk(chunk: RuntimeChunk): void;
  onFailed(error: MeshError): void;
}

export interface OrderHandlers {
  onProgress(progress: ModelProgress): void;
  onDone(): void;
  onFailed(error: MeshError): void;
}

/** Other values of the first two only in tests. */
export interface WorkThreadOptions {
  entry?: URL;
  pingEveryMs?: number;
  /** The thread's environment; default: a copy of the process's as it is then. */
  env?: NodeJS.ProcessEnv | undefined;
}

const PING_EVERY_MS = 1000;
/**
 * Pings without an answer after which the node says that its work path is dead, and after which the thread is started
 * anew. Counted, not timed: when it is this thread that was held up, it sent no pings and blames nobody.
 */
const UNANSWERED = { unresponsive: 3, restart: 30 };
/** What is young in the thread's heap gets no more room than the flags of a thrifty start give it (agent/thrift.ts). */
const YOUNG = { maxYoungGenerationSizeMb: 3 };
/** Pause before a crashed work thread is started again, milliseconds; doubles up to the limit. */
const RESTART_MS = { first: 200, limit: 10_000 };

/**
 * Runs the runtimes in a thread of their own, so that the thread that holds the bus connection and sends heartbeats never
 * waits for them. Started again when it crashes; its jobs then fail with `runtime_failed`.
 */
export class WorkThread {
  readonly #config: WorkerConfig;
  readonly #log: Log;
  readonly #onRuntimes: (runtimes: RuntimeState[]) => void;
  readonly #runs = new Map<number, RunHandlers>();
  readonly #orders = new Map<number, OrderHandlers>();
  readonly #timer: NodeJS.Timeout;
  #worker: Worker;
  #embedded: EmbeddedEndpoint | undefined;
  readonly #entry: URL | undefined;
  readonly #env: NodeJS.ProcessEnv | undefined;
  #problems: readonly RuntimeProblem[] = [];
  #unanswered = 0;
  #restartMs = RESTART_MS.first;
  #count = 0;
  #closed = false;

  constructor(
    config: WorkerConfig,
    onRuntimes: (runtimes: RuntimeState[]) => void,
    log: Log,
    { entry, pingEveryMs = PING_EVERY_MS, env }: WorkThreadOptions = {},
  ) {
    this.#env = env;
    this.#config = config;
    this.#entry = entry;
    this.#onRuntimes = onRuntimes;
    this.#log = log;
    this.#worker = this.#start();
    this.#timer = setInterval(() => this.#ping(), pingEveryMs);
  }

  /** Why the work path is dead, or undefined when it is alive. */
  get problem(): string | undefined {
    return this.#unanswered > UNANSWERED.unresponsive ? "the work thread does not answer" : undefined;
  }

  /** What is there and cannot be used, for people. */
  get runtimeProblems(): readonly RuntimeProblem[] {
    return this.#problems;
  }

  /** @returns the id for `cancel`. */
  run(runtime: string, job: RuntimeJob, handlers: RunHandlers): number {
    const id = this.#count++;
    this.#runs.set(id, handlers);
    this.#post({ type: "run", id, runtime, job });
    return id;
  }

  /** Has a runtime do something with a model. @returns the id for `cancel` */
  manage(runtime: string, order: ModelOrder, handlers: OrderHandlers): number {
    const id = this.#count++;
    this.#orders.set(id, handlers);
    this.#post({ type: "manage", id, runtime, order });
    return id;
  }

  /** Nothing more is heard of it. */
  cancel(id: number): void {
    this.#post({ type: "cancel", id });
  }

  setEmbedded(endpoint: EmbeddedEndpoint | undefined): void {
    this.#embedded = endpoint;
    this.#post({ type: "embedded", endpoint });
  }

  /** Offers the diagnostic runtime, or not: for a machine on which no model can be had. */
  setLoopback(offered: boolean): void {
    this.#config.loopback = offered;
    this.#post({ type: "loopback", offered });
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#worker.terminate();
  }

  #start(): Worker {
    const options = {
      workerData: this.#config,
      resourceLimits: YOUNG,
      ...(this.#env === undefined ? {} : { env: this.#env }),
    };
    const worker = this.#entry === undefined ? entryThread("work", options) : new Worker(this.#entry, options);
    worker.on("message", (message: FromWorker) => this.#onMessage(message));
    worker.on("error", (error) => this.#log.error({ err: error }, "the work thread crashed"));
    worker.on("exit", () => this.#onExit());
    return worker;
  }

  #ping(): void {
    this.#unanswered++;
    // Its end is an exit like a crash: jobs fail, and it is started again.
    if (this.#unanswered === UNANSWERED.restart) {
      this.#log.error("the work thread hangs; starting it anew");
      void this.#worker.terminate();
    } else this.#post({ type: "ping" });
  }

  #post(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  #onMessage(message: FromWorker): void {
    this.#unanswered = 0;
    if (message.type === "runtimes") {
      this.#restartMs = RESTART_MS.first;
      this.#problems = message.problems;
      return this.#onRuntimes(message.runtimes);
    }
    if (message.type === "pong") return;
    const order = this.#orders.get(message.id);
    if (order !== undefined) return this.#onOrder(message, order);
    const run = this.#runs.get(message.id);
    if (message.type !== "chunk" || message.chunk.type === "done") this.#runs.delete(message.id);
    if (message.type === "chunk") run?.onChunk(message.chunk);
    else if (message.type === "failed") run?.onFailed(MeshError.fromWire(message.error));
  }

  #onOrder(message: Exclude<FromWorker, { type: "runtimes" | "pong" }>, order: OrderHandlers): void {
    if (message.type === "progress") return order.onProgress(message.progress);
    this.#orders.delete(message.id);
    if (message.type === "managed") order.onDone();
    else if (message.type === "failed") order.onFailed(MeshError.fromWire(message.error));
  }

  #onExit(): void {
    if (this.#closed) return;
    this.#onRuntimes([]);
    const lost = [...this.#runs.values(), ...this.#orders.values()];
    this.#runs.clear();
    this.#orders.clear();
    for (const run of lost) run.onFailed(new MeshError("runtime_failed", "the work thread crashed"));
    setTimeout(() => {
      if (this.#closed) return;
      this.#unanswered = 0;
      this.#worker = this.#start();
      if (this.#embedded !== undefined) this.setEmbedded(this.#embedded);
    }, this.#restartMs);
    this.#restartMs = Math.min(this.#restartMs * 2, RESTART_MS.limit);
  }
}
