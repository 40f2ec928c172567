import type { SleepRecord } from "../../bus-schemas/index.ts";
import type { Log } from "../../service/log.ts";
import type { ClockWatch } from "./clock-watch.ts";

/** A machine that said it would sleep and still runs after this time has changed its mind, milliseconds; systemd waits 5 s for us. */
const STILL_AWAKE_MS = 20_000;

export interface SleepParts {
  watch: ClockWatch;
  /** Whether and how this machine can be woken. */
  howToWake: () => Promise<SleepRecord>;
  /** Says goodbye: routers know when it fulfils, or it took too long. */
  sayGoodbye: () => Promise<void>;
  /** It was away, and is back: `awayMs` for how long, as far as that is known. */
  onAwake: (awayMs: number) => void;
  /** The wall clock was set by so much, milliseconds. */
  onClockSet: (ms: number) => void;
  /** Monotonic. */
  steadyMs: () => number;
  log: Log;
}

/**
 * Sleep and wake of the machine as a clean leave and join: what is told before, and noticed after. It needs no timer: the heartbeat
 * asks each time what there is to say.
 */
export class Sleep {
  readonly #parts: SleepParts;
  #told: { record: SleepRecord; atMs: number } | undefined;
  #going: Promise<void> | undefined;

  constructor(parts: SleepParts) {
    this.#parts = parts;
  }

  /** Why no job is taken now, or undefined. */
  get closedBecause(): string | undefined {
    return this.#told === undefined ? undefined : "the node is suspended: about to sleep";
  }

  /** The system is about to sleep. Fulfils when it may. Never throws. */
  fallAsleep(): Promise<void> {
    this.#going ??= this.#fallAsleep().finally(() => (this.#going = undefined));
    return this.#going;
  }

  async #fallAsleep(): Promise<void> {
    const { howToWake, log, sayGoodbye, steadyMs } = this.#parts;
    if (this.#told !== undefined) return;
    log.info("the machine is about to sleep");
    try {
      this.#told = { record: await howToWake(), atMs: steadyMs() };
      await sayGoodbye();
    } catch (error) {
      log.warn({ err: error }, "the mesh could not be told of the sleep; it will notice");
    }
  }

  /** For each heartbeat: null while the machine is awake. */
  look(): SleepRecord | null {
    const { log, onAwake, onClockSet, steadyMs, watch } = this.#parts;
    const { awayMs, clockSetMs } = watch.look();
    if (clockSetMs !== 0) {
      log.info({ by_ms: Math.round(clockSetMs) }, "the clock was set");
      onClockSet(clockSetMs);
    }
    const stillHere = this.#told !== undefined && steadyMs() - this.#told.atMs > STILL_AWAKE_MS;
    if (awayMs > 0 || stillHere) {
      log.info(
        { away_ms: Math.round(awayMs) },
        awayMs > 0 ? "this machine was away; back again" : "the machine stays awake",
      );
      this.#told = undefined;
      onAwake(awayMs);
    }
    return this.#told?.record ?? null;
  }
}
