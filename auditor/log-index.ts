import type { AuditQuery } from "../bus-schemas/index.ts";
import type { SegmentSeal } from "./at-rest/segment-seal.ts";
import type { EntryPlace, RecordPlace } from "./segment.ts";

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

/** Of each entry a number in each list: there are hundreds of thousands of them, and an object of each takes ten times as much. */
interface IndexedSegment {
  file: string;
  first: number;
  seal: SegmentSeal | undefined;
  offsets: number[];
  lengths: number[];
  records: (RecordPlace | undefined)[];
  /** Numbers of event types; {@link NO_EVENT} for a rejected message. */
  types: number[];
}

const NO_EVENT = -1;

/** In-memory index of the newest segments: log position and job → where the line is. Built anew at each start. */
export class LogIndex {
  readonly #segments: IndexedSegment[] = [];
  /** Positions of a job's entries, oldest first; of a single one itself. */
  readonly #jobs = new Map<string, number | number[]>();
  /** Where each event is, by its key. */
  readonly #keys = new Map<string, number>();
  readonly #types = new Map<string, number>();
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
    return this.#segments.find((segment) => segment.offsets.length > 0)?.first ?? this.last + 1;
  }

  /** Highest position that can be looked up. */
  get last(): number {
    const newest = this.#segments.at(-1);
    return newest === undefined ? 0 : newest.first + newest.offsets.length - 1;
  }

  addSegment(file: string, first: number, seal: SegmentSeal | undefined): void {
    this.#segments.push({ file, first, seal, offsets: [], lengths: [], records: [], types: [] });
    let spare = 0;
    const isSpare = () =>
      this.#segments.length - spare > this.#keptSegments &&
      knowsRepeats(this.#segments[spare + 1]?.first ?? first, first, this.#window);
    while (isSpare()) spare++;
    this.#drop(spare);
  }

  /** Forgets the oldest segments as long as all their entries lie before a position. */
  dropBefore(sequence: number): void {
    let spare = 0;
    while (spare < this.#segments.length - 1 && (this.#segments[spare + 1]?.first ?? Infinity) <= sequence) spare++;
    this.#drop(spare);
  }

  /** Forgets so many of the oldest segments. */
  #drop(count: number): void {
    if (count === 0) return;
    this.#segments.splice(0, count);
    const from = this.#segments[0]?.first ?? Infinity;
    for (const [key, sequence] of this.#keys) if (sequence < from) this.#keys.delete(key);
    for (const [job, positions] of this.#jobs) {
      const left = [positions].flat().filter((sequence) => sequence >= from);
      if (left.length === 0) this.#jobs.delete(job);
      else this.#jobs.set(job, left.length === 1 ? (left[0] ?? 0) : left);
    }
  }

  /** Adds entries to the segment that was added last. */
  add(places: readonly EntryPlace[]): void {
    const segment = this.#segments.at(-1);
    for (const { jobId, key, length, offset, record, sequence, type } of places) {
      segment?.offsets.push(offset);
      segment?.lengths.push(length);
      segment?.records.push(record);
      segment?.types.push(this.#typeOf(type));
      if (key !== null) this.#keys.set(key, sequence);
      if (jobId === null) continue;
      const known = this.#jobs.get(jobId);
      if (known === undefined) this.#jobs.set(jobId, sequence);
      else if (typeof known === "number") this.#jobs.set(jobId, [known, sequence]);
      else known.push(sequence);
    }
  }

  #typeOf(type: string | null): number {
    if (type === null) return NO_EVENT;
    const known = this.#types.get(type) ?? this.#types.size;
    this.#types.set(type, known);
    return known;
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
    const wanted = type === undefined ? undefined : (this.#types.get(type) ?? this.#types.size);
    const fits = (is: number) => is !== NO_EVENT && (wanted === undefined || is === wanted);
    const candidates = job === undefined ? undefined : [this.#jobs.get(job) ?? []].flat();
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
      if (found !== undefined && fits(found.type)) lines.push(found.line);
    }
    return newestFirst ? lines.reverse() : lines;
  }

  #find(sequence: number): { line: Line; type: number } | undefined {
    const segment = this.#segments.findLast((one) => one.first <= sequence);
    const i = sequence - (segment?.first ?? 0);
    const [offset, length, type] = [segment?.offsets[i], segment?.lengths[i], segment?.types[i]];
    if (segment === undefined || offset === undefined || length === undefined || type === undefined) return undefined;
    const { file, records, seal } = segment;
    return { line: { sequence, offset, length, record: records[i], file, seal }, type };
  }
}
