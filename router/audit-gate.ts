import { MeshError } from "../bus-schemas/index.ts";
import { within } from "../service/within.ts";

/** P0 and P1 wait this long for their decision to be durable, then are refused, milliseconds. */
const AUDIT_LIMIT_MS = 1500;

/**
 * Where P0 and P1 jobs wait until the record of their decision is durable (DESIGN promise 3). A job that waits here can be
 * cancelled, and an orderly stop waits for it.
 */
export class AuditGate {
  readonly #held = new Map<string, { word: "cancelled" | "superseded" | undefined }>();
  #count = 0;

  get size(): number {
    return this.#count;
  }

  cancel(jobId: string): void {
    this.#tell(jobId, "cancelled");
  }

  /** The caller asks for the job again: nothing comes of the try that waits here. */
  supersede(jobId: string): void {
    this.#tell(jobId, "superseded");
  }

  /**
   * @param durable resolves when the record is durable
   * @returns `superseded` when the caller has asked again meanwhile
   * @throws MeshError `audit_unavailable` when that does not come in time, `cancelled` when the caller cancelled meanwhile.
   */
  async pass(jobId: string, durable: Promise<void>): Promise<"superseded" | undefined> {
    const held: { word: "cancelled" | "superseded" | undefined } = { word: undefined };
    this.#held.set(jobId, held);
    this.#count++;
    const isDurable = await within(durable, AUDIT_LIMIT_MS);
    this.#count--;
    // A job submitted again under the same id has taken the place.
    if (this.#held.get(jobId) === held) this.#held.delete(jobId);
    if (held.word === "superseded") return "superseded";
    if (held.word === "cancelled") throw new MeshError("cancelled", "cancelled by the caller");
    if (!isDurable) {
      const message = "the decision could not be recorded; P0 and P1 jobs do not run unrecorded";
      throw new MeshError("audit_unavailable", message, { retryAfterMs: 1000 });
    }
    return undefined;
  }

  #tell(jobId: string, word: "cancelled" | "superseded"): void {
    const held = this.#held.get(jobId);
    if (held !== undefined) held.word = word;
  }
}
