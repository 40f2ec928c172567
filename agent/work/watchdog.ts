/** A job that says nothing for this long makes us ask whether its runtime lives, milliseconds. */
const ASK_AFTER_MS = 500;
/** A runtime that lives answers within this time, milliseconds. */
const ANSWER_LIMIT_MS = 500;
/** Answers in a row that do not come, until the runtime counts as hung. */
const MISSES = 2;
/** A question that took so much longer than its limit was kept up by this thread, which then blames nobody, milliseconds. */
const OWN_LAG_MS = 250;

export interface WatchdogParts {
  /** Whether the runtime answers a question that costs it nothing. Never throws; `signal` aborts at the limit. */
  alive: (signal: AbortSignal) => Promise<boolean>;
  /** The runtime does not answer, and the job has said nothing meanwhile. Called once at most. */
  onHung: () => void;
  /** Milliseconds, any origin. */
  now: () => number;
}

/**
 * Watches one running job: while it is silent its runtime is asked twice a second whether it lives. A long prefill is no
 * hang, for a runtime answers beside it; a stopped process is one, and is noticed within 1.5 s.
 */
export class Watchdog {
  readonly #parts: WatchdogParts;
  readonly #stopped = new AbortController();
  #timer: NodeJS.Timeout;
  #heardAtMs: number;
  #misses = 0;

  constructor(parts: WatchdogParts) {
    this.#parts = parts;
    this.#heardAtMs = parts.now();
    this.#timer = setTimeout(() => void this.#look(), ASK_AFTER_MS);
  }

  /** The job said something. */
  heard(): void {
    this.#heardAtMs = this.#parts.now();
    this.#misses = 0;
  }

  stop(): void {
    this.#stopped.abort();
    clearTimeout(this.#timer);
  }

  async #look(): Promise<void> {
    const { alive, now, onHung } = this.#parts;
    const waitMs = this.#heardAtMs + ASK_AFTER_MS - now();
    if (waitMs > 0) return this.#again(waitMs);
    const askedAtMs = now();
    const answered = await alive(AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(ANSWER_LIMIT_MS)]));
    if (this.#stopped.signal.aborted) return;
    const late = now() - askedAtMs > ANSWER_LIMIT_MS + OWN_LAG_MS;
    if (answered) this.#misses = 0;
    else if (!late && this.#heardAtMs <= askedAtMs && ++this.#misses >= MISSES) {
      this.stop();
      return onHung();
    }
    this.#again(answered ? ASK_AFTER_MS : 0);
  }

  #again(ms: number): void {
    this.#timer = setTimeout(() => void this.#look(), ms);
  }
}
