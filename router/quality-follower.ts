/**
 * Keeps a router's table of model quality the one on the bus.
 * 1. The newest good value of each key counts; a key that was unset, and one that was never set, has its default.
 * 2. A value that is none (no JSON, a score of 7) leaves the last good one, is counted, and is logged once.
 * 3. While the bucket cannot be reached the table stays as it is.
 */
import type { Log } from "../service/log.ts";
import { startLoop, type Loop } from "../service/loop.ts";
import type { QualityBucket, QualityRevision, QualityState } from "../service/quality-bucket.ts";
import type { Rejections } from "../service/rejections.ts";
import { MeshError, type QualitySubject } from "../bus-schemas/index.ts";
import type { Qualities } from "./policy/fleet.ts";

/** How often the bucket is looked at, milliseconds: a new score counts everywhere within a second. */
const LOOK_EVERY_MS = 400;
/** Entries that are followed, at most: a bucket that somebody fills without end must not fill the router. */
const MAX_ENTRIES = 10_000;

type Bucket = Pick<QualityBucket, "state" | "after">;

export interface QualityParts {
  /** Opens the bucket; called again after it failed. */
  open: () => Promise<Bucket>;
  /** Told the whole table when it changes. */
  take: (qualities: Qualities) => void;
  rejections: Pick<Rejections, "add">;
  log: Log;
}

export class QualityFollower {
  readonly #parts: QualityParts;
  readonly #entries = new Map<string, QualitySubject & { score: number }>();
  #bucket: Bucket | undefined;
  #seen: QualityState | undefined;
  /** Revisions that are no good, as far as they were told. */
  #toldUpTo = 0;
  #reachable = true;
  #full = false;

  constructor(parts: QualityParts) {
    this.#parts = parts;
  }

  /** Follows the bus's table until `signal` aborts. */
  follow(signal: AbortSignal): Loop {
    const { log } = this.#parts;
    const onError = (error: unknown) => {
      if (this.#reachable)
        log.warn({ err: error }, "the quality bucket cannot be reached; the scores known so far count");
      this.#reachable = false;
      this.#bucket = undefined;
    };
    const body = async () => {
      await this.look();
      this.#reachable = true;
    };
    return startLoop({ name: "quality", everyMs: LOOK_EVERY_MS, onError }, body, signal);
  }

  /** Looks at the bucket once. @throws what the bus says */
  async look(): Promise<void> {
    this.#bucket ??= await this.#parts.open();
    const state = await this.#bucket.state();
    const seen = this.#seen;
    if (state === undefined && seen === undefined) return;
    if (
      state?.created === seen?.created &&
      state?.lastRevision === seen?.lastRevision &&
      state?.messages === seen?.messages
    )
      return;
    const anew = state?.created !== seen?.created || (state?.messages ?? 0) < (seen?.messages ?? 0);
    if (state?.created !== seen?.created) this.#toldUpTo = 0;
    const good = new Set<string>();
    const unfit = new Set<string>();
    for await (const revision of this.#bucket.after(anew ? 0 : (seen?.lastRevision ?? 0))) {
      const isGood = this.#enter(revision);
      (isGood ? good : unfit).add(revision.key);
    }
    // What is gone from the bucket counts no more; what is only garbage there keeps its last good value.
    if (anew) for (const key of this.#entries.keys()) if (!good.has(key) && !unfit.has(key)) this.#entries.delete(key);
    this.#seen = state;
    this.#parts.take(this.#table());
  }

  /** @returns whether it is one to go by */
  #enter({ key, subject, value, revision }: QualityRevision): boolean {
    if (value === null) {
      this.#entries.delete(key);
      return true;
    }
    if (subject === undefined || value instanceof MeshError) {
      this.#reject(key, revision, value);
      return false;
    }
    if (!this.#entries.has(key) && this.#entries.size >= MAX_ENTRIES) {
      if (!this.#full) this.#parts.log.warn(`more than ${MAX_ENTRIES} quality entries; the others are not followed`);
      this.#full = true;
      return false;
    }
    this.#entries.set(key, { ...subject, score: value.score });
    return true;
  }

  #reject(key: string, revision: number, value: QualityRevision["value"]): void {
    if (revision <= this.#toldUpTo) return;
    this.#toldUpTo = revision;
    const problem = value instanceof MeshError ? value : new MeshError("bad_request", "key: not <task>.<model>");
    this.#parts.rejections.add("quality", problem);
    this.#parts.log.warn({ key: key.slice(0, 200), revision, reason: problem.message }, "a quality entry is no good");
  }

  #table(): Qualities {
    const table = new Map<string, Map<string, number>>();
    for (const { taskType, model, score } of this.#entries.values()) {
      const ofTask = table.get(taskType) ?? new Map<string, number>();
      table.set(taskType, ofTask.set(model, score));
    }
    return table;
  }
}
