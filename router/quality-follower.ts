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
import { MAX_QUALITY_CHANGES, MeshError, type EventData, type QualitySubject } from "../bus-schemas/index.ts";
import type { EventPublisher } from "../service/events.ts";
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
  events: Pick<EventPublisher, "record">;
  rejections: Pick<Rejections, "add">;
  log: Log;
}

type Changed = EventData<"quality_changed">["changes"][number];

export class QualityFollower {
  readonly #parts: QualityParts;
  readonly #entries = new Map<string, QualitySubject & { score: number }>();
  #bucket: Bucket | undefined;
  #seen: QualityState | undefined;
  /** Revisions that are no good, as far as they were told. */
  #toldUpTo = 0;
  #reachable = true;
  #looked = false;
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
    const started = !this.#looked;
    this.#looked = true;
    if (state === undefined && seen === undefined) return;
    if (
      state?.created === seen?.created &&
      state?.lastRevision === seen?.lastRevision &&
      state?.messages === seen?.messages
    )
      return;
    const anew = state?.created !== seen?.created || (state?.messages ?? 0) < (seen?.messages ?? 0);
    if (state?.created !== seen?.created) this.#toldUpTo = 0;
    const good = new Map<string, Changed>();
    const changed: Changed[] = [];
    const unfit = new Set<string>();
    for await (const revision of this.#bucket.after(anew ? 0 : (seen?.lastRevision ?? 0))) {
      if (!this.#enter(revision)) unfit.add(revision.key);
      else if (revision.subject !== undefined) {
        const change = changeOf(revision, revision.subject);
        good.set(revision.key, change);
        changed.push(change);
      }
    }
    // What is gone from the bucket counts no more; what is only garbage there keeps its last good value.
    if (anew) for (const key of this.#entries.keys()) if (!good.has(key) && !unfit.has(key)) this.#entries.delete(key);
    this.#seen = state;
    this.#parts.take(this.#table());
    // Of a table that is read anew what counts is told, not each step of how it came to that.
    const inForce = Array.from(good.values()).filter(({ score }) => score !== null);
    this.#record(anew ? inForce : changed, state?.lastRevision ?? 0, started);
  }

  /** The scores count even when their event cannot be kept. */
  #record(changes: readonly Changed[], revision: number, started: boolean): void {
    if (changes.length === 0) return;
    const told = changes.slice(-MAX_QUALITY_CHANGES);
    const left_out = changes.length - told.length;
    try {
      const data = { revision, scores: this.#entries.size, changes: told, left_out, started };
      this.#parts.events.record("quality_changed", data);
    } catch (error) {
      this.#parts.log.warn({ err: error }, "a change of models' quality was not recorded");
    }
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

function changeOf({ revision, value, by }: QualityRevision, { taskType, model }: QualitySubject): Changed {
  const { score, samples, source } =
    value === null || value instanceof MeshError ? { score: null, samples: null, source: null } : value;
  return { revision, task_type: taskType, model, score, samples, source, by: by ?? null };
}
