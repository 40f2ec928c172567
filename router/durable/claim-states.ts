import { isDeepStrictEqual } from "node:util";
import { MeshError, type DurableRecord } from "../../bus-schemas/index.ts";
import { pause } from "../../service/loop.ts";
import type { Claim } from "./claim.ts";
import type { DurableParts } from "./parts.ts";

/** Pause before JetStream is asked again, milliseconds. */
const RETRY_PAUSE_MS = 500;

/** The job is somebody else's now, or has ended: nothing more is done for it here. */
export class ClaimLost extends Error {}

/** Changes of the state of jobs in hand, through times in which JetStream does not answer. */
export class ClaimStates {
  readonly #parts: Pick<DurableParts, "store" | "log">;

  constructor(parts: Pick<DurableParts, "store" | "log">) {
    this.#parts = parts;
  }

  /** Changes a job's state if nobody else did since. @throws ClaimLost */
  async write(claim: Claim, change: Partial<DurableRecord>, signal: AbortSignal): Promise<void> {
    const { store } = this.#parts;
    const record: DurableRecord = { ...claim.held.record, ...change, changed_unix_ms: Date.now() };
    let unsure = false;
    await this.persist(async () => {
      const seq = await store.write(record, claim.held.seq).catch((cause: unknown) => {
        unsure = true;
        throw cause;
      });
      if (seq !== undefined) return void (claim.held = { record, seq });
      const now = unsure ? await store.read(claim.jobId) : undefined;
      // Ours, of which only the answer was lost.
      if (now !== undefined && isDeepStrictEqual(now.record, record)) return void (claim.held = now);
      throw new ClaimLost();
    }, signal);
  }

  /** Does it until JetStream takes it. @throws ClaimLost, what is final, or the last trouble when the router stops */
  async persist(step: () => Promise<void>, signal: AbortSignal): Promise<void> {
    for (;;) {
      try {
        return await step();
      } catch (cause) {
        const final = cause instanceof MeshError && !cause.retryable;
        if (cause instanceof ClaimLost || final || signal.aborted) throw cause;
        this.#parts.log.warn({ err: cause }, "a durable job waits for JetStream");
        await pause(RETRY_PAUSE_MS, signal);
      }
    }
  }
}
