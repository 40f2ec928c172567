import type { ServerResponse } from "node:http";
import { MeshError } from "../bus-schemas/index.ts";

/**
 * The requests being answered now, and the jobs that callers wait for: each job is cancelled when its caller leaves, or
 * when the gateway must stop.
 */
export class Exchanges {
  readonly #open = new Set<AbortController>();
  #active = 0;
  readonly #waiting: (() => void)[] = [];

  /** Jobs that callers wait for. */
  get size(): number {
    return this.#open.size;
  }

  /** A request's head is here. */
  began(): void {
    this.#active++;
  }

  /** Its answer is complete, or its connection gone. */
  ended(): void {
    if (--this.#active === 0) for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Resolves when no request is being answered. */
  idle(): Promise<void> {
    return this.#active === 0 ? Promise.resolve() : new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** A signal that aborts when the caller leaves before its answer is complete; its reason is a MeshError. */
  open(raw: ServerResponse): AbortSignal {
    const controller = new AbortController();
    this.#open.add(controller);
    raw.once("close", () => {
      this.#open.delete(controller);
      if (!raw.writableFinished) controller.abort(new MeshError("cancelled", "the caller closed the connection"));
    });
    // The caller may have left while its body was read, before anyone listened.
    if (raw.destroyed) controller.abort(new MeshError("cancelled", "the caller closed the connection"));
    return controller.signal;
  }

  /** Ends what is still open because this gateway stops; the callers are told that they may ask again. */
  abortAll(): void {
    for (const controller of this.#open)
      controller.abort(new MeshError("draining", "this gateway is stopping; ask again", { retryAfterMs: 1000 }));
  }
}
