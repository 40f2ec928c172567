/** The two clocks of this machine, milliseconds: one that people set, and one that only runs. */
export interface Clocks {
  wallMs: () => number;
  steadyMs: () => number;
}

/** A jump of the wall clock smaller than this is left alone, milliseconds: leases are seconds. */
const JUMP_MS = 50;

/**
 * Wall time for decisions, which compare it with deadlines; whoever keeps moments of it is told of each jump, so that ages
 * run by the steady clock: setting the clock makes no node late.
 */
export class FleetClock {
  readonly #clocks: Clocks;
  readonly #onJump: (ms: number) => void;
  #offsetMs: number;

  constructor(clocks: Clocks, onJump: (ms: number) => void) {
    this.#clocks = clocks;
    this.#onJump = onJump;
    this.#offsetMs = clocks.wallMs() - clocks.steadyMs();
  }

  nowMs(): number {
    const wallMs = this.#clocks.wallMs();
    const jumpMs = wallMs - this.#clocks.steadyMs() - this.#offsetMs;
    if (Math.abs(jumpMs) >= JUMP_MS) {
      this.#offsetMs += jumpMs;
      this.#onJump(jumpMs);
    }
    return wallMs;
  }
}
