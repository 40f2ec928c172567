/**
 * How long a job may wait, milliseconds: while its lane has not been empty for {@link WAIT_MS.calm}, so that what waits is no
 * passing burst, 100 ms; else 2 s. CoDel on a server's queue as in Ben Maurer, "Fail at Scale", ACM Queue 13(8), 2015
 * (there 5 and 100 ms, for requests of milliseconds; a job of ours takes seconds).
 */
export const WAIT_MS = { backlogged: 100, calm: 2000 } as const;
/** What may wait in one router, so that callers who submit and never read cannot sink it. */
export const ROOM = { jobs: 10_000, bytes: 64 * 1024 * 1024 } as const;

/** What may wait. */
export interface Waitable {
  jobId: string;
  /** Jobs of one lane wait for the same places: when one finds none, the others do not either. */
  lane: string;
  /** Task queue. */
  queue: string;
  /** Higher goes first. */
  priority: number;
  bytes: number;
  /** On the room's clock. */
  deadlineMs: number;
}

/** A job in the room. */
export interface Place<T extends Waitable> {
  job: T;
  enteredMs: number;
  /** It waits no longer than this, unless somebody gives it more. */
  untilMs: number;
}

interface Lane<T extends Waitable> {
  /** Oldest first; never empty. */
  places: Place<T>[];
  /** Not empty since then. */
  sinceMs: number;
}

/**
 * Jobs that wait for a free node, in lanes. Pure bookkeeping on whatever clock its caller has. The job that goes next is one
 * of the highest priority; in its lane the oldest, or the newest while the lane is overloaded: then the oldest callers are
 * those who have waited longest for nothing (adaptive LIFO, same source).
 */
export class WaitingRoom<T extends Waitable> {
  readonly #lanes = new Map<string, Lane<T>>();
  readonly #byJob = new Map<string, Place<T>>();
  readonly #limits: { jobs: number; bytes: number };
  #bytes = 0;

  constructor(limits: { jobs: number; bytes: number } = ROOM) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#byJob.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The oldest of those who wait for the same as a job of this lane. */
  front(lane: string): T | undefined {
    return this.#lanes.get(lane)?.places[0]?.job;
  }

  find(jobId: string): T | undefined {
    return this.#byJob.get(jobId)?.job;
  }

  /** Whether a lane has been full for longer than a burst lasts. */
  overloaded(lane: string, nowMs: number): boolean {
    const sinceMs = this.#lanes.get(lane)?.sinceMs;
    return sinceMs !== undefined && nowMs - sinceMs > WAIT_MS.calm;
  }

  /**
   * Takes a job in. A room that is full makes place by sending away the oldest of the lowest priority below the job's own.
   * @returns those sent away, and whether the job is in.
   */
  enter(job: T, nowMs: number): { entered: boolean; sentAway: Place<T>[] } {
    const sentAway: Place<T>[] = [];
    while (this.size >= this.#limits.jobs || this.#bytes + job.bytes > this.#limits.bytes) {
      const victim = this.#lowestBelow(job.priority);
      if (victim === undefined) return { entered: false, sentAway };
      this.take(victim.job.jobId);
      sentAway.push(victim);
    }
    const waitMs = this.overloaded(job.lane, nowMs) ? WAIT_MS.backlogged : WAIT_MS.calm;
    const place = { job, enteredMs: nowMs, untilMs: Math.min(nowMs + waitMs, job.deadlineMs) };
    const lane = this.#lanes.get(job.lane);
    if (lane === undefined) this.#lanes.set(job.lane, { places: [place], sinceMs: nowMs });
    else lane.places.push(place);
    this.#byJob.set(job.jobId, place);
    this.#bytes += job.bytes;
    return { entered: true, sentAway };
  }

  /** The job that goes next, of the lanes and queues that are not blocked; it stays in the room. */
  next(nowMs: number, blocked: { lanes: ReadonlySet<string>; queues: ReadonlySet<string> }): Place<T> | undefined {
    let best: Place<T> | undefined;
    for (const [name, { places }] of this.#lanes) {
      const place = this.overloaded(name, nowMs) ? places.at(-1) : places[0];
      if (place === undefined || blocked.lanes.has(name) || blocked.queues.has(place.job.queue)) continue;
      const ahead = best === undefined ? 1 : place.job.priority - best.job.priority;
      if (ahead > 0 || (ahead === 0 && best !== undefined && place.enteredMs < best.enteredMs)) best = place;
    }
    return best;
  }

  /** Highest priority of what waits; null = nothing does. */
  get highest(): number | null {
    let highest: number | null = null;
    for (const { places } of this.#lanes.values())
      for (const { job } of places.slice(0, 1)) highest = Math.max(highest ?? -Infinity, job.priority);
    return highest;
  }

  /** Takes a job out. */
  take(jobId: string): Place<T> | undefined {
    const place = this.#byJob.get(jobId);
    if (place === undefined) return undefined;
    const { job } = place;
    this.#byJob.delete(jobId);
    this.#bytes -= job.bytes;
    const places = this.#lanes.get(job.lane)?.places ?? [];
    // The ends are where jobs leave; looked for from there, also a room of thousands costs little.
    if (places[0] === place) places.shift();
    else places.splice(places.lastIndexOf(place), 1);
    if (places.length === 0) this.#lanes.delete(job.lane);
    return place;
  }

  /** Those that have waited for as long as they may; they stay in the room. */
  expired(nowMs: number): Place<T>[] {
    return [...this.#byJob.values()].filter(({ untilMs }) => untilMs <= nowMs);
  }

  /** All that are in it. */
  get places(): Iterable<Place<T>> {
    return this.#byJob.values();
  }

  #lowestBelow(priority: number): Place<T> | undefined {
    let lowest: Place<T> | undefined;
    for (const { places } of this.#lanes.values()) {
      const [oldest] = places;
      if (oldest !== undefined && oldest.job.priority < (lowest?.job.priority ?? priority)) lowest = oldest;
    }
    return lowest;
  }
}
