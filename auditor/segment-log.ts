/**
 * The auditor's append-only log: segments `segment-000001.jsonl`, … of one entry a line.
 * 1. A line is never changed once `append` has returned; it was then fsynced.
 * 2. Positions (`sequence`) count from 1 without holes, over all segments.
 * 3. Within one stream, an entry's `stream_sequence` grows, so what is already here is known by the last one.
 * 4. After a crash, `open` cuts what was not written whole. Those entries were never acknowledged: the stream sends
 *    them again. Damage with whole lines behind it is set aside in a file, not thrown away.
 */
import { mkdir, open, readFile, readdir, rm, truncate, writeFile, type FileHandle } from "node:fs/promises";
import path from "node:path";
import type { LogEntry } from "../bus-schemas/index.ts";
import { isOutdated, resealSegment } from "./at-rest/reseal-segment.ts";
import { sealOf, type SegmentSeal } from "./at-rest/segment-seal.ts";
import { NO_KEYS, type StorageKeys } from "./at-rest/storage-keys.ts";
import { LogIndex, REPEAT_WINDOW, knowsRepeats } from "./log-index.ts";
import { firstSequence } from "./segment-reader.ts";
import { scanSegment, type ScannedSegment } from "./scan-segment.ts";
import { placesIn, segmentFile, segmentNumber, type EntryPlace, type SegmentHeader } from "./segment.ts";

export interface SegmentLogOptions {
  /** A segment that has reached this size is followed by a new one, bytes. */
  segmentBytes?: number;
  /** An event that comes again is known for so many entries; tests have less. */
  repeatWindow?: number;
  /** What entries are encrypted with on the disk; with none they are plain. */
  keys?: StorageKeys | undefined;
  /** Told what recovery did, for the process log. */
  onRepair?: (what: Repair) => void;
  /** Opens a segment for writing; tests put a failing disk here. */
  openFile?: (file: string, flags: string) => Promise<SegmentFile>;
}

/** What recovery cut from a segment's end. */
interface Repair {
  file: string;
  cut_bytes: number;
  /** Whether it held whole lines, and is kept in a file of its own. */
  set_aside: boolean;
}

/** What is needed of a FileHandle. */
export type SegmentFile = Pick<FileHandle, "write" | "truncate" | "datasync" | "sync" | "close">;

const DEFAULT_SEGMENT_BYTES = 64 * 1024 * 1024;
/** One with so many entries is followed by a new one, too: what is kept of them in memory goes by whole segments. */
const SEGMENT_ENTRIES = 65_536;
/** So many of the newest segments at least can be looked up by position and job. */
const INDEXED_SEGMENTS = 4;

export class SegmentLog {
  readonly index: LogIndex;
  readonly keys: StorageKeys;
  readonly #folder: string;
  readonly #segmentBytes: number;
  readonly #repeatWindow: number;
  readonly #openFile: (file: string, flags: string) => Promise<SegmentFile>;
  #file: SegmentFile | undefined;
  #header: SegmentHeader | undefined;
  #seal: SegmentSeal | undefined;
  /** Durable size of the current segment, bytes; writing goes on here. */
  #size = 0;
  #sequence = 0;
  #streamSequence = 0;

  private constructor(folder: string, options: SegmentLogOptions) {
    this.#folder = folder;
    this.keys = options.keys ?? NO_KEYS;
    this.#repeatWindow = options.repeatWindow ?? REPEAT_WINDOW;
    this.index = new LogIndex(INDEXED_SEGMENTS, this.#repeatWindow);
    this.#segmentBytes = options.segmentBytes ?? DEFAULT_SEGMENT_BYTES;
    this.#openFile = options.openFile ?? ((file, flags) => open(file, flags, 0o600));
  }

  /**
   * Opens the log of a folder, which is made when absent, and repairs its end. What it keeps open is encrypted by the newest key
   * from then on.
   * @throws MissingStorageKey; the file system's errors.
   */
  static async open(folder: string, options: SegmentLogOptions = {}): Promise<SegmentLog> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const log = new SegmentLog(folder, options);
    const names = await readdir(folder);
    const numbers = names.map(segmentNumber).filter((number) => number !== undefined);
    numbers.sort((a, b) => a - b);
    const newest = await log.#dropEmptyEnd(numbers);
    for (const number of await log.#indexed(numbers)) await log.#load(number, number === newest, options.onRepair);
    return log;
  }

  /** Position of the last entry; 0 for an empty log. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Stream position up to which everything is here. */
  get streamSequence(): number {
    return this.#streamSequence;
  }

  /** When the stream was made whose entries are written now; undefined before the first. */
  get streamCreated(): string | undefined {
    return this.#header?.stream_created;
  }

  /** From now on entries come from a stream made at `created`, from behind `after` on. */
  async startStream(created: string, after: number): Promise<void> {
    await this.#startSegment(created, after);
    this.#streamSequence = after;
  }

  /**
   * Appends entries and returns when they are durable: one write and one fsync for all.
   * When it throws, nothing counts as written; close this log and open it again.
   */
  async append(entries: readonly LogEntry[]): Promise<void> {
    if (this.#header === undefined) throw new Error("startStream comes first");
    const isFull =
      this.#size >= this.#segmentBytes || this.#sequence + 1 >= this.#header.first_sequence + SEGMENT_ENTRIES;
    if (isFull) await this.#startSegment(this.#header.stream_created, this.#streamSequence);
    const lines = entries.map((entry) => Buffer.from(`${JSON.stringify(entry)}\n`));
    const { data, places } = this.#seal?.lines(lines, this.#sequence + 1, this.#size) ?? plainLines(lines, this.#size);
    await this.#write(data);
    this.index.add(places);
    this.#sequence = entries.at(-1)?.sequence ?? this.#sequence;
    this.#streamSequence = entries.at(-1)?.stream_sequence ?? this.#streamSequence;
  }

  /** Whether the disk takes `bytes` more now; asked after a failure, before events are taken again. */
  async probe(bytes: number): Promise<void> {
    const file = path.join(this.#folder, "room.tmp");
    try {
      await writeFile(file, Buffer.alloc(bytes), { flush: true });
    } finally {
      await rm(file, { force: true });
    }
  }

  /** Removes the segments whose entries all lie before a position; never the newest one. @throws the file system's errors */
  async prune(beforeSequence: number): Promise<void> {
    this.index.dropBefore(beforeSequence);
    const numbers = (await readdir(this.#folder)).map(segmentNumber).filter((number) => number !== undefined);
    numbers.sort((a, b) => a - b);
    for (const [i, number] of numbers.entries()) {
      const next = numbers[i + 1];
      if (next === undefined || (await firstSequence(segmentFile(this.#folder, next))) > beforeSequence) return;
      await rm(segmentFile(this.#folder, number));
    }
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  async #write(data: Buffer): Promise<void> {
    if (this.#file === undefined || this.#header === undefined) throw new Error("the log is closed");
    try {
      for (let done = 0; done < data.length;) {
        done += (await this.#file.write(data, done, data.length - done, this.#size + done)).bytesWritten;
      }
      await this.#file.datasync();
    } catch (error) {
      // What did get written is not acknowledged and comes again: it must not stay in front of that.
      await this.#file.truncate(this.#size).catch(() => undefined);
      throw error;
    }
    this.#size += data.length;
  }

  async #startSegment(streamCreated: string, afterStreamSequence: number): Promise<void> {
    await this.close();
    const number = (this.#header?.segment ?? 0) + 1;
    const header: SegmentHeader = {
      segment: number,
      first_sequence: this.#sequence + 1,
      stream_created: streamCreated,
      after_stream_sequence: afterStreamSequence,
      ...(this.keys.current === undefined ? {} : { sealed_by: this.keys.current.id }),
    };
    const name = segmentFile(this.#folder, number);
    this.#file = await this.#openFile(name, "wx");
    const previous = { header: this.#header, seal: this.#seal, size: this.#size };
    this.#header = header;
    this.#seal = sealOf(header, name, this.keys);
    this.#size = 0;
    try {
      await this.#write(Buffer.from(`${JSON.stringify(header)}\n`));
      await syncFolder(this.#folder);
    } catch (error) {
      await this.close();
      await rm(name, { force: true }).catch(() => undefined);
      this.#header = previous.header;
      this.#seal = previous.seal;
      this.#size = previous.size;
      throw error;
    }
    this.index.addSegment(name, header.first_sequence, this.#seal);
  }

  /** The newest segments: some, and as many as it takes to know events that come again. */
  async #indexed(numbers: readonly number[]): Promise<number[]> {
    const last = numbers.at(-1);
    if (last === undefined) return [];
    const firstOf = (number: number) => firstSequence(segmentFile(this.#folder, number));
    const end = await firstOf(last);
    let from = Math.max(0, numbers.length - INDEXED_SEGMENTS);
    while (from > 0 && !knowsRepeats(await firstOf(numbers[from] ?? last), end, this.#repeatWindow)) from--;
    return numbers.slice(from);
  }

  /** Removes newest segments that have not even a header (a crash in `#startSegment`); returns the newest that has. */
  async #dropEmptyEnd(numbers: number[]): Promise<number | undefined> {
    for (let newest = numbers.at(-1); newest !== undefined; newest = numbers.at(-1)) {
      const file = segmentFile(this.#folder, newest);
      if ((await readFile(file)).includes(10)) return newest;
      await rm(file);
      numbers.pop();
    }
    return undefined;
  }

  async #load(number: number, isNewest: boolean, onRepair: SegmentLogOptions["onRepair"]): Promise<void> {
    const name = segmentFile(this.#folder, number);
    let scanned = await scanSegment(name, this.keys);
    if (isNewest && scanned.header !== undefined && scanned.goodBytes < scanned.totalBytes) {
      const repaired = await repair(scanned);
      onRepair?.(repaired);
    }
    const isWhole = isNewest || scanned.goodBytes === scanned.totalBytes;
    if (isWhole && scanned.header !== undefined && isOutdated(scanned.header, this.keys)) {
      await resealSegment(name, this.keys);
      scanned = await scanSegment(name, this.keys);
    }
    const { entries, file, goodBytes, header } = scanned;
    if (header === undefined)
      throw new Error(`${file}: its first line is no segment header; move the file away or restore it`);
    const seal = sealOf(header, file, this.keys);
    this.index.addSegment(file, header.first_sequence, seal);
    this.index.add(entries);
    if (!isNewest) return;
    this.#header = header;
    this.#seal = seal;
    this.#sequence = entries.at(-1)?.sequence ?? header.first_sequence - 1;
    this.#streamSequence = entries.at(-1)?.streamSequence ?? header.after_stream_sequence;
    this.#size = goodBytes;
    this.#file = await this.#openFile(file, "r+");
    // Whole lines of a killed process may be in the system's cache only; from here on they count as written.
    await this.#file.sync();
  }
}

/** Copies a segment's damaged end beside it if it holds a whole line; a torn last line alone is not worth it. */
async function keepDamage(file: string, goodBytes: number): Promise<boolean> {
  const damage = (await readFile(file)).subarray(goodBytes);
  if (!damage.includes(10)) return false;
  await writeFile(`${file}.damaged-${goodBytes}-${Date.now()}`, damage, { mode: 0o600, flush: true });
  return true;
}

/** Cuts what is damaged at a segment's end, and says what was done. */
async function repair({ file, goodBytes, totalBytes }: ScannedSegment): Promise<Repair> {
  const setAside = await keepDamage(file, goodBytes);
  await truncate(file, goodBytes);
  return { file, cut_bytes: totalBytes - goodBytes, set_aside: setAside };
}

function plainLines(lines: readonly Buffer[], base: number): { data: Buffer; places: EntryPlace[] } {
  const data = Buffer.concat(lines);
  return { data, places: placesIn(data).map((place) => ({ ...place, offset: base + place.offset })) };
}

/** Makes a new file's name durable. Windows has no such call for folders, and needs none. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
