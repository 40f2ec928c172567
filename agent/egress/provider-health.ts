import type { Blame } from "./provider-failure.ts";

/** Back-off without a word of the provider: doubles from the first with each failure in a row, milliseconds. */
const BACK_OFF_MS = { first: 1000, limit: 30_000 };
/** Failures in a row after which a provider is put out, and for how long: doubling each time it fails its trial, milliseconds. */
const EJECTION = { failures: 5, firstMs: 30_000, limitMs: 300_000 };
/** An account without credit, or a model that is not there, is asked again after this time, milliseconds. */
const REST_MS = 300_000;

/** What a provider can be asked now. */
export interface Availability {
  healthy: boolean;
  /** Why not, for people; null when it is well. */
  reason: string | null;
  /** How long not, milliseconds; undefined = until its file or key changes. */
  waitMs: number | undefined;
  /** After an ejection: one job only, to see. */
  trial: boolean;
}

/** One call in progress; exactly one of its methods is called at its end. */
export interface Call {
  succeeded(): void;
  failed(blame: Blame, reason: string, retryAfterMs: number | undefined): void;
  /** Nothing was learned: cancelled. */
  left(): void;
}

/**
 * Circuit breaker of one provider: `closed → resting → closed` after a back-off, and after five failures in a row
 * `ejected → trial → closed` (or ejected again, for twice as long). Failures of calls that were already on their way when
 * the provider began to rest are the same failure and count once.
 */
export class ProviderHealth {
  readonly #now: () => number;
  readonly #random: () => number;
  #inRow = 0;
  #ejections = 0;
  /** Not asked before this time. */
  #restUntilMs = Number.NEGATIVE_INFINITY;
  #restReason = "";
  #outReason: string | undefined;
  #trialRuns = false;
  readonly #models = new Map<string, number>();

  /** @param now milliseconds, any origin; @param random uniform in [0,1); @param out why it cannot be asked at all */
  constructor(now: () => number, random: () => number, out?: string) {
    this.#now = now;
    this.#random = random;
    this.#outReason = out;
  }

  get availability(): Availability {
    if (this.#outReason !== undefined)
      return { healthy: false, reason: this.#outReason, waitMs: undefined, trial: false };
    const waitMs = this.#restUntilMs - this.#now();
    if (waitMs > 0) {
      const reason = `${this.#restReason}; asked again in ${Math.ceil(waitMs / 1000)} s`;
      return { healthy: false, reason, waitMs, trial: false };
    }
    return { healthy: true, reason: null, waitMs: undefined, trial: this.#ejections > 0 };
  }

  /** A trial is on its way, so that nobody else may call. */
  get trialRuns(): boolean {
    return this.#trialRuns;
  }

  /** Whether this model is offered: one that the provider did not know rests for a while. */
  offers(model: string): boolean {
    return (this.#models.get(model) ?? Number.NEGATIVE_INFINITY) <= this.#now();
  }

  /** A call begins; ask `availability` first. */
  begin(model: string): Call {
    const trial = this.#ejections > 0;
    const restedUntilMs = this.#restUntilMs;
    if (trial) this.#trialRuns = true;
    const end = (then: () => void) => {
      if (trial) this.#trialRuns = false;
      then();
    };
    return {
      succeeded: () => end(() => this.#well(restedUntilMs)),
      left: () => end(() => undefined),
      failed: (blame, reason, retryAfterMs) =>
        end(() => {
          if (blame === "caller") return this.#well(restedUntilMs);
          if (blame === "model") {
            this.#models.set(model, this.#now() + REST_MS);
            return this.#well(restedUntilMs);
          }
          if (blame === "key") this.#outReason = reason;
          else this.#failed(blame, reason, retryAfterMs, restedUntilMs, trial);
        }),
    };
  }

  /** It answered as it should. A call from before the rest began cannot end it. */
  #well(restedUntilMs: number): void {
    if (restedUntilMs !== this.#restUntilMs) return;
    this.#inRow = 0;
    this.#ejections = 0;
  }

  #failed(
    blame: "busy" | "down" | "quota",
    reason: string,
    retryAfterMs: number | undefined,
    restedUntilMs: number,
    trial: boolean,
  ): void {
    const sameFailure = restedUntilMs !== this.#restUntilMs;
    if (!sameFailure) this.#inRow++;
    // At least the first step: a server that says "now" would be asked as fast as jobs come.
    let restMs =
      retryAfterMs !== undefined ? Math.max(retryAfterMs, BACK_OFF_MS.first) : sameFailure ? 0 : this.#backOffMs();
    if (blame === "quota") restMs = Math.max(restMs, REST_MS);
    // Who says when to come back is well, and only full.
    const saidWhen = blame === "busy" && retryAfterMs !== undefined;
    if (!sameFailure && !saidWhen && (trial || this.#inRow >= EJECTION.failures)) {
      restMs = Math.max(restMs, Math.min(EJECTION.firstMs * 2 ** this.#ejections, EJECTION.limitMs));
      this.#ejections++;
    }
    const untilMs = this.#now() + restMs;
    if (untilMs <= this.#restUntilMs) return;
    this.#restUntilMs = untilMs;
    this.#restReason = reason;
  }

  /** Half to all of the doubling time, so that agents that failed together do not come back together. */
  #backOffMs(): number {
    const fullMs = Math.min(BACK_OFF_MS.first * 2 ** (this.#inRow - 1), BACK_OFF_MS.limit);
    return fullMs * (0.5 + this.#random() / 2);
  }
}
