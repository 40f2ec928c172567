import type { Bus } from "../service/bus.ts";

/** A router takes a job back within this time, or it is gone, milliseconds. */
const LIMIT_MS = 2000;
/** This process stood still if it looks so late, milliseconds: the router's question may lie unread in its socket. */
const LATE_MS = 500;

/**
 * Jobs that failed here and that their routers go on with. Either the router takes one back, or it is gone, and then the caller is
 * told here; never both, whoever of the two stood still meanwhile.
 */
export class HandedBack {
  readonly #bus: Pick<Bus, "connected">;
  readonly #nowMs: () => number;
  readonly #open = new Map<string, () => boolean>();

  /** @param nowMs monotonic clock, milliseconds */
  constructor(bus: Pick<Bus, "connected">, nowMs: () => number = () => performance.now()) {
    this.#bus = bus;
    this.#nowMs = nowMs;
  }

  /**
   * @param tell the caller, when no router takes the job
   * @returns the router's question: whether the job is its to go on with; the answer stays what it was
   */
  add(jobId: string, tell: () => void): () => boolean {
    let word: "open" | "taken" | "told" = "open";
    let timer: NodeJS.Timeout;
    const wait = (): void => {
      const dueMs = this.#nowMs() + LIMIT_MS;
      timer = setTimeout(() => {
        // Nobody would hear it, or the other's word was there in time.
        if (!this.#bus.connected() || this.#nowMs() - dueMs > LATE_MS) return wait();
        word = "told";
        this.#open.delete(jobId);
        tell();
      }, LIMIT_MS);
    };
    const take = (): boolean => {
      if (word === "open") word = "taken";
      clearTimeout(timer);
      this.#open.delete(jobId);
      return word === "taken";
    };
    wait();
    this.#open.set(jobId, take);
    return take;
  }

  /** A router has gone on with it without asking, as those of older versions do, or because this node was lost to it. */
  superseded(jobId: string): void {
    this.#open.get(jobId)?.();
  }
}
