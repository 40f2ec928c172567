import { ownNetworks } from "./this-network.ts";

/** The system is asked for its addresses so often, milliseconds: each heartbeat names the networks, and they seldom change. */
const LOOK_EVERY_MS = 30_000;

/** The networks of this machine, as its heartbeats name them. */
export class NetworkList {
  readonly #nowMs: () => number;
  readonly #ask: typeof ownNetworks;
  #known: string[] = [];
  #askedAtMs = -Infinity;

  /** @param nowMs monotonic */
  constructor(nowMs: () => number, ask = ownNetworks) {
    this.#nowMs = nowMs;
    this.#ask = ask;
  }

  look(): string[] {
    if (this.#nowMs() - this.#askedAtMs < LOOK_EVERY_MS) return this.#known;
    this.#askedAtMs = this.#nowMs();
    return (this.#known = this.#ask().map(({ network }) => network));
  }

  /** The machine slept, and may be elsewhere now. */
  forget(): void {
    this.#askedAtMs = -Infinity;
  }
}
