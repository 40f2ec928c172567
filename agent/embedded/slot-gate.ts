/** More callers wait than may wait, or one waited too long. */
export class AllBusyError extends Error {
  override readonly name = "AllBusyError";
}

export interface SlotGateOptions {
  slots: number;
  /** Callers that may wait for a slot at once. */
  maxWaiting: number;
  /** How long one may wait, milliseconds. */
  maxWaitMs: number;
}

/** Lets `slots` callers in at once; a bounded number waits in order of arrival. */
export class SlotGate {
  readonly #options: SlotGateOptions;
  #busy = 0;
  readonly #queue: (() => void)[] = [];

  constructor(options: SlotGateOptions) {
    this.#options = options;
  }

  get busy(): number {
    return this.#busy;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /**
   * Waits for a slot and returns what gives it back (calling it twice does no harm).
   * @throws AllBusyError, or the signal's reason
   */
  async enter(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#busy < this.#options.slots) this.#busy += 1;
    else await this.#wait(signal);
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      const next = this.#queue.shift();
      // The slot goes straight to the next one, so a newcomer cannot slip in between.
      if (next === undefined) this.#busy -= 1;
      else next();
    };
  }

  #wait(signal: AbortSignal): Promise<void> {
    const { maxWaiting, maxWaitMs } = this.#options;
    if (this.#queue.length >= maxWaiting) throw new AllBusyError("all slots are busy and the waiting line is full");
    return new Promise((resolve, reject) => {
      const settle = (end: () => void) => {
        clearTimeout(timer);
        signal.removeEventListener("abort", onAbort);
        end();
      };
      const admit = () => settle(resolve);
      const leave = (error: unknown) => {
        this.#queue.splice(this.#queue.indexOf(admit), 1);
        settle(() => reject(error instanceof Error ? error : new AllBusyError("gone")));
      };
      const onAbort = () => leave(signal.reason);
      const timer = setTimeout(() => leave(new AllBusyError("no slot came free in time")), maxWaitMs);
      signal.addEventListener("abort", onAbort, { once: true });
      this.#queue.push(admit);
    });
  }
}
