import { uptime } from "node:os";

/** Three clocks of a machine, milliseconds. */
export interface MachineClocks {
  /** What people and NTP set. */
  wallMs: () => number;
  /** Only runs forward; stands still while a machine sleeps, where the system has such a one (Linux: CLOCK_MONOTONIC). */
  steadyMs: () => number;
  /** Since the start of the machine, its sleep included (Linux: CLOCK_BOOTTIME). Nobody can set it. */
  sinceBootMs: () => number;
}

export const MACHINE_CLOCKS: MachineClocks = {
  wallMs: Date.now,
  steadyMs: () => performance.now(),
  sinceBootMs: () => uptime() * 1000,
};

/** What the clocks say about the time since the look before. */
export interface Look {
  /** For so long nothing ran here: the machine slept, its VM was stopped, or this process was. Milliseconds; 0 = it ran. */
  awayMs: number;
  /** So much the wall clock was set, forward or (below 0) back, milliseconds: by a person, NTP, or after a VM was stopped. */
  clockSetMs: number;
}

/** A look that comes so much later than its beat was away, milliseconds; a busy machine is late by less. */
const AWAY_MS = 5000;
/** A smaller jump of the wall clock is left alone, milliseconds: the uptime is told in hundredths of a second. */
const SET_MS = 1000;

/** Tells a sleep from a clock that was set, by three clocks of which no two are moved by the same thing. */
export class ClockWatch {
  readonly #clocks: MachineClocks;
  readonly #everyMs: number;
  #last: { wallMs: number; steadyMs: number; sinceBootMs: number };

  /** @param everyMs how often `look` is called, milliseconds */
  constructor(everyMs: number, clocks: MachineClocks = MACHINE_CLOCKS) {
    this.#clocks = clocks;
    this.#everyMs = everyMs;
    this.#last = this.#now();
  }

  look(): Look {
    const now = this.#now();
    const [wallMs, steadyMs, sinceBootMs] = [
      now.wallMs - this.#last.wallMs,
      now.steadyMs - this.#last.steadyMs,
      now.sinceBootMs - this.#last.sinceBootMs,
    ];
    this.#last = now;
    // Where the steady clock runs on in a sleep, the look is late by it; where it stands still, the clock since boot is ahead of it.
    const awayMs = Math.max(steadyMs, sinceBootMs) - this.#everyMs;
    const clockSetMs = wallMs - Math.max(steadyMs, sinceBootMs);
    return {
      awayMs: awayMs >= AWAY_MS ? awayMs : 0,
      clockSetMs: Math.abs(clockSetMs) >= SET_MS ? clockSetMs : 0,
    };
  }

  #now() {
    const { wallMs, steadyMs, sinceBootMs } = this.#clocks;
    return { wallMs: wallMs(), steadyMs: steadyMs(), sinceBootMs: sinceBootMs() };
  }
}
