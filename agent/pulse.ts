/** The pulse beats this often, milliseconds. */
const BEAT_MS = 250;
/** A process that did nothing for so long stood still, milliseconds: half of what a router waits for a silent node at least. */
const STOOD_STILL_MS = 1000;

/** Notices that this process stood still: it was stopped, its machine slept, or something held its thread. */
export class Pulse {
  readonly #onStoodStill: () => void;
  #timer: NodeJS.Timeout | undefined;
  #lastMs = performance.now();

  constructor(onStoodStill: () => void) {
    this.#onStoodStill = onStoodStill;
  }

  start(): void {
    this.#lastMs = performance.now();
    this.#timer = setInterval(() => this.check(), BEAT_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Call it before anything is said: after a stop, what lies in a socket may be read before the pulse beats. */
  check(): void {
    const nowMs = performance.now();
    const stoodStill = nowMs - this.#lastMs > STOOD_STILL_MS;
    this.#lastMs = nowMs;
    if (stoodStill) this.#onStoodStill();
  }
}
