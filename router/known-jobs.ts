import type { Msg } from "@nats-io/nats-core";
import { MeshError } from "../bus-schemas/index.ts";

/** So long a finished job is remembered, milliseconds: a caller that missed the answer asks again within it. */
const REMEMBER_MS = 60_000;
/** Jobs that are remembered at most. */
const MAX_FINISHED = 50_000;

/** A submission that is being worked on here. */
interface InHand {
  message: Msg;
  /** As its client counts: a client that submits again because nobody answered says so (client/job-stream.ts). */
  attempt: number;
  /** Wall clock; then it is over, whatever we heard of it. */
  deadlineMs: number;
}

/**
 * Which jobs this router knows, so that one that is submitted twice does not run twice. What holds across routers: all hear
 * which jobs nodes have accepted and finished. What does not: two submissions of one job in the same moment at two routers,
 * before a node has accepted either.
 */
export class KnownJobs {
  readonly #inHand = new Map<string, InHand>();
  /** When each was finished; oldest first. */
  readonly #finished = new Map<string, number>();
  readonly #runsElsewhere: (jobId: string) => boolean;
  readonly #clock: () => number;

  /** @param clock the time of deadlines, milliseconds */
  constructor(runsElsewhere: (jobId: string) => boolean, clock: () => number) {
    this.#runsElsewhere = runsElsewhere;
    this.#clock = clock;
  }

  /**
   * Takes note of a submission.
   * @returns `joined`: the very same message came twice, and the first one's answer goes where the second wants it
   * @throws MeshError `conflict`
   */
  submitted(jobId: string, message: Msg, attempt: number, deadlineMs: number): "new" | "joined" {
    const known = this.#inHand.get(jobId);
    if (known !== undefined && attempt <= known.attempt) {
      if (!sameBytes(known.message.data, message.data)) throw conflict(jobId, "is another job that runs now");
      if (known.message.reply === message.reply) return "joined";
      throw conflict(jobId, "runs already; its answer goes to who submitted it first");
    }
    if (attempt === 1 && known === undefined) {
      if (this.#runsElsewhere(jobId)) throw conflict(jobId, "runs already");
      if (performance.now() - (this.#finished.get(jobId) ?? -Infinity) < REMEMBER_MS)
        throw conflict(jobId, "was finished a moment ago");
    }
    this.#inHand.set(jobId, { message, attempt, deadlineMs });
    return "new";
  }

  /** The job ended without an answer, or its caller gave this try up: it may be submitted again. */
  ended(jobId: string): void {
    this.#inHand.delete(jobId);
  }

  /** A node has answered the job, for whichever router. */
  finished(jobId: string): void {
    this.#inHand.delete(jobId);
    this.#finished.delete(jobId);
    this.#finished.set(jobId, performance.now());
    if (this.#finished.size > MAX_FINISHED) this.#finished.delete(this.#finished.keys().next().value ?? "");
  }

  /** The caller submits it again, wherever the last try is. */
  superseded(jobId: string): void {
    this.#inHand.delete(jobId);
    this.#finished.delete(jobId);
  }

  /** Forgets what is over; call it about twice a second. */
  sweep(): void {
    const nowMs = performance.now();
    for (const [jobId, atMs] of this.#finished) {
      if (nowMs - atMs < REMEMBER_MS) break;
      this.#finished.delete(jobId);
    }
    const wallMs = this.#clock();
    for (const [jobId, { deadlineMs }] of this.#inHand) if (deadlineMs < wallMs) this.#inHand.delete(jobId);
  }
}

function conflict(jobId: string, what: string): MeshError {
  return new MeshError("conflict", `the job ${jobId} ${what}`, { field: "job_id" });
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
