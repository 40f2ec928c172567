import type { AuditQuery } from "../bus-schemas/index.ts";
import type { SegmentSeal } from "./at-rest/segment-seal.ts";
import type { EntryPlace } from "./segment.ts";

/** An entry's line on disk; of an encrypted segment `offset` and `length` are of the text of its record. */
export interface Line extends Pick<EntryPlace, "sequence" | "offset" | "length" | "record"> {
  file: string;
  seal: SegmentSeal | undefined;
}

/** An event that comes again is known for so many entries: the same for all auditors of a mesh. */
export const REPEAT_WINDOW = 2 ** 18;

/** Whether the entries from `first` on are enough to know repeats at position `last`. */
export function knowsRepeats(first: number, last: number, window: number): boolean {
  return first === 1 || last - first >= window;
}

interface IndexedSegment {
  file: string;
  first: number;
  seal: SegmentSeal | undefined;
  entries: EntryPlace[];
}

/** In-memory index of the newest segments: log position and job → where the line is. Built anew at each start. */
export class LogIndex {
  readonly #segments: IndexedSegment[] = [];
  readonly #jobs = new Map<string, number[]>();
  /** Where each event is, by its key. */
  readonly #keys = new Map<string, number>();
  readonly #keptSegments: number;
  readonly #window: number;

  /**
   * @param keptSegments the newest segments that are kept at least; older ones go when they are not needed to know repeats.
   * @param window an event that comes again is known for so many entries.
   */
  constructor(keptSegments: number, window: number) {
    this.#keptSegments = keptSegments;
    this.#window = window;
  }

  /** Lowest position that can be looked up; `last + 1` while there is none. */
  get first(): number {
    return this.#segments.find((segment) => segment.entries.length > 0)?.first ?? this.last + 1;
  }

  /** Highest position that can be looked up. */
  get last(): number {
    const newest = this.#segments.at(-1);
    return newest === undefined ? 0 : newest.first + newest.entries.length - 1;
  }

  addSegment(file: string, first: number, seal: SegmentSeal | undefined): void {
    this.#segments.push({ file, first, seal, entries: [] });
    const spare = () =>
      this.#segments.length > this.#keptSegments &&
      knowsRepeats(this.#segments[1]?.first ?? first, first, this.#window);
    while (spare()) this.#dropOldest();
  }

  /** Forgets the oldest segments as long as all their entries lie before a position. */
  dropBefore(sequence: number): void {
    while (this.#segments.length > 1 && (this.#segments[1]?.first ?? Infinity) <= sequence) this.#dropOldest();
  }

  #dropOldest(): void {
    const dropped = this.#segments.shift();
    for (const { jobId, key, sequence } of dropped?.entries ?? []) {
      if (key !== null && this.#keys.get(key) === sequence) this.#keys.delete(key);
      if (jobId === null) continue;
      const left = this.#jobs.get(jobId)?.filter((sequence) => sequence >= this.first) ?? [];
      if (left.length === 0) this.#jobs.delete(jobId);
      else this.#jobs.set(jobId, left);
    }
  }

  /** Adds entries to the segment that was added last. */
  add(places: readonly EntryPlace[]): void {
    const segment = this.#segments.at(-1);
    for (const place of places) {
      segment?.entries.push(place);
      if (place.key !== null) this.#keys.set(place.key, place.sequence);
      if (place.jobId === null) continue;
      const known = this.#jobs.get(place.jobId);
      if (known === undefined) this.#jobs.set(place.jobId, [place.sequence]);
      else known.push(place.sequence);
    }
  }

  /**
   * Whether an event with this `eventKey` is among the entries in front of position `at`. Every auditor
   * must answer the same here, or two would write two logs: so it does not depend on how the entries lie in segments.
   */
  has(key: string, at: number): boolean {
    const sequence = this.#keys.get(key);
    return sequence !== undefined && sequence >= at - this.#window;
  }

  /** The events a question is for, oldest first, at most `limit`. */
  select(query: AuditQuery): Line[] {
    const { job_id: job, type, after_sequence: after, limit } = query;
    const fits = (line: { place: EntryPlace } | undefined) =>
      line !== undefined && line.place.type !== null && (type === undefined || line.place.type === type);
    const candidates = job === undefined ? undefined : (this.#jobs.get(job) ?? []);
    const size = candidates?.length ?? this.last - this.first + 1;
    const at = (i: number) => candidates?.[i] ?? this.first + i;
    const lines: Line[] = [];
    const newestFirst = after === undefined;
    for (let step = 0; step < size && lines.length < limit; step++) {
      const sequence = at(newestFirst ? size - 1 - step : step);
      if (after !== undefined && sequence <= after) {
        // Without a job the positions have no holes: go straight behind `after`.
        if (candidates === undefined) step += after - sequence;
        continue;
      }
      const found = this.#find(sequence);
      if (found !== undefined && fits(found)) {
        const { length, offset, record } = found.place;
        lines.push({ sequence, offset, length, record, file: found.file, seal: found.seal });
      }
    }
    return newestFirst ? lines.reverse() : lines;
  }

  #find(sequence: number): { file: string; seal: SegmentSeal | undefined; place: EntryPlace } | undefined {
    const segment = this.#segments.findLast((one) => one.first <= sequence);
    const place = segment?.entries[sequence - segment.first];
    return segment === undefined || place === undefined ? undefined : { ...segment, place };
  }
}
