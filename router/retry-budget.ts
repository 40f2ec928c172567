/** Retries are at most this share of the fresh dispatches of the window (the 10 %; Google's SRE book has the same). */
const SHARE = 0.1;
/** What is looked back at, milliseconds. */
const WINDOW_MS = 30_000;
/** So many retries are allowed in a window however quiet the router is. */
const FLOOR = 20;
const BUCKET_MS = 1000;

interface Bucket {
  startMs: number;
  fresh: number;
  retries: number;
}

/**
 * Keeps retries from making an overload worse: when every node refuses, each job would otherwise be sent
 * `1 + retry_attempts` times. Of one router; over budget a job ends with the reason it has.
 */
export class RetryBudget {
  readonly #clock: () => number;
  /** Oldest first. */
  #buckets: Bucket[] = [];

  /** @param clock monotonic, milliseconds */
  constructor(clock: () => number = () => performance.now()) {
    this.#clock = clock;
  }

  /** A job was sent for the first time. */
  fresh(): void {
    this.#now().fresh++;
  }

  /** Whether a job may be sent once more; it then counts as sent. */
  take(): boolean {
    const now = this.#now();
    const sum = (of: (bucket: Bucket) => number) => this.#buckets.reduce((total, bucket) => total + of(bucket), 0);
    const allowed = Math.max(
      FLOOR,
      sum(({ fresh }) => fresh * SHARE),
    );
    if (sum(({ retries }) => retries) + 1 > allowed) return false;
    now.retries++;
    return true;
  }

  #now(): Bucket {
    const nowMs = this.#clock();
    const last = this.#buckets.at(-1);
    if (last !== undefined && nowMs - last.startMs < BUCKET_MS) return last;
    const bucket = { startMs: nowMs, fresh: 0, retries: 0 };
    this.#buckets = [...this.#buckets.filter(({ startMs }) => nowMs - startMs < WINDOW_MS), bucket];
    return bucket;
  }
}
