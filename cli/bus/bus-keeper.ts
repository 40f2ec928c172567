import { MeshError } from "../../bus-schemas/index.ts";
import {
  PortHeldError,
  describeHolder,
  obtainNatsServer,
  startEmbeddedBus,
  type ClusterOptions,
  type EmbeddedBus,
  type StorageKey,
  type TlsFiles,
} from "../../service/bus-server/index.ts";
import { pause } from "../../service/loop.ts";

export interface BusKeeperOptions {
  env: NodeJS.ProcessEnv;
  stateDir: string;
  host: string;
  port: number;
  tls?: TlsFiles | undefined;
  cluster?: ClusterOptions | undefined;
  sync?: "always" | "interval" | undefined;
  /** What streams are encrypted with, asked for at each start; undefined = they lie in clear. */
  key?: (() => StorageKey) | undefined;
  /** Text of the accounts file, asked for at each start. */
  accounts: () => string;
  onProgress: (line: string) => void;
  onRestart: (exit: string) => void;
}

/** Pause before a nats-server that ended is started again, milliseconds. */
const RESTART_AFTER_MS = 100;
/** A server that cannot be started again is tried this often, milliseconds: its port may be held for a while. */
const RETRY_EVERY_MS = 2000;

/** Runs the embedded bus and starts it again, on the same port and data, when it dies. */
export class BusKeeper {
  readonly #options: BusKeeperOptions;
  readonly #stopping = new AbortController();
  #bus: EmbeddedBus;
  /** It ends because we said so. */
  #leaving = false;
  readonly #binary: string;

  private constructor(options: BusKeeperOptions, binary: string, bus: EmbeddedBus) {
    this.#options = options;
    this.#binary = binary;
    this.#bus = bus;
    void this.#keep();
  }

  /** @throws MeshError when no nats-server can be had, or another process holds the port or the folder. */
  static async start(options: BusKeeperOptions, signal: AbortSignal): Promise<BusKeeper> {
    const { env, onProgress } = options;
    const server = await obtainNatsServer({ env, onProgress, signal });
    // The signal ends the start only: at an orderly stop the bus is the last to go (Mesh.stop).
    const start = new AbortController();
    const abort = () => start.abort(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    const bus = await startEmbeddedBus({
      binary: server.path,
      ...serverOptions(options),
      signal: start.signal,
    })
      .catch((error: unknown) => {
        if (!(error instanceof PortHeldError)) throw error;
        const { port, holder } = error;
        throw new MeshError(
          error.code,
          `port ${port} is held by ${describeHolder(holder)}; stop it or choose another with --bus-port`,
          { cause: error },
        );
      })
      .finally(() => signal.removeEventListener("abort", abort));
    return new BusKeeper({ ...options, port: bus.port }, server.path, bus);
  }

  get bus(): EmbeddedBus {
    return this.#bus;
  }

  /** A server of a cluster first sends its clients to the others. */
  async stop(): Promise<void> {
    this.#leaving = true;
    if (this.#options.cluster !== undefined) await this.#bus.leave();
    this.#stopping.abort();
    await this.#bus.stop();
  }

  async #keep(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      const exit = await this.#bus.exited;
      if (this.#stopping.signal.aborted || this.#leaving) return;
      this.#options.onRestart(exit.signal ?? `exit ${exit.code}`);
      await pause(RESTART_AFTER_MS, this.#stopping.signal);
      await this.#startAgain();
    }
  }

  async #startAgain(): Promise<void> {
    const { onProgress } = this.#options;
    while (!this.#stopping.signal.aborted) {
      try {
        const options = serverOptions(this.#options);
        this.#bus = await startEmbeddedBus({ binary: this.#binary, ...options, signal: this.#stopping.signal });
        return;
      } catch (error) {
        if (!this.#stopping.signal.aborted)
          onProgress(`the bus cannot be started again: ${error instanceof Error ? error.message : "unknown"}`);
        await pause(RETRY_EVERY_MS, this.#stopping.signal);
      }
    }
  }
}

function serverOptions({ stateDir, host, port, tls, cluster, sync, key, accounts }: BusKeeperOptions) {
  return { stateDir, host, port, tls, cluster, sync, key: key?.(), accounts: accounts() };
}
