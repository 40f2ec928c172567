/** How a managed runtime is started and stopped: a command of the agent's own, or a unit of systemd's. */
export interface Means {
  /** Starts it, or ends what runs and starts it anew. @throws MeshError `runtime_failed` saying why it cannot be had */
  restart(signal: AbortSignal): Promise<void>;
  /** The agent stops: ends what it has started itself. */
  stop(): Promise<void>;
  /** For people: what was done to it. */
  readonly description: string;
}
