import fs from "node:fs";
import path from "node:path";
import { tryLock, type FileLock } from "./file-lock.ts";
import type { Log } from "./log.ts";

/** A segment that has grown to this size is closed, and deleted when everything in it is settled, bytes. */
const SEGMENT_BYTES = 4 * 1024 * 1024;
/** A segment in which nothing waits is emptied from this size on, bytes. */
const EMPTY_FROM_BYTES = 256 * 1024;
/** What is settled is written down this late at most, milliseconds: a crash in between only sends it once more. */
const SETTLED_WITHIN_MS = 200;
/** So many processes of one name may share a folder. */
const MAX_SHARERS = 16;
const SEGMENT_NAME = /^(\d{8})\.spool$/;

/** What waits: an id without spaces, and a text without line breaks. */
export interface SpoolLine {
  id: string;
  line: string;
}

interface Segment {
  file: string;
  waiting: number;
}

/**
 * Lines that must survive the death of this process until they are settled: append-only segment files with `+id line` for
 * what waits and `-id` for what is settled. What is put within one turn of the event loop is written in one go at its end.
 * It is handed to the operating system and not synced to the disk: `kill -9` loses nothing, a power cut may lose what the
 * system had not written yet.
 */
export class Spool {
  /** What former processes of this name left unsettled, in their order; it waits in this spool now. */
  readonly leftovers: readonly SpoolLine[];
  readonly #folder: string;
  readonly #lock: FileLock;
  readonly #log: Log;
  readonly #segmentOf = new Map<string, Segment>();
  /** Oldest first; the last is written to. They go oldest first: a mark is never gone before the line that it settles. */
  readonly #segments: Segment[] = [];
  #fd = -1;
  #bytes = 0;
  #count: number;
  #buffer = "";
  #writeIsDue = false;
  #settledTimer: NodeJS.Timeout | undefined;
  #broken = false;

  private constructor(folder: string, lock: FileLock, leftovers: ReadonlyMap<string, string>, log: Log) {
    this.#folder = folder;
    this.#lock = lock;
    this.#log = log;
    const old = segmentsIn(folder);
    this.#count = Number(SEGMENT_NAME.exec(old.at(-1) ?? "")?.[1] ?? 0);
    this.#openSegment();
    for (const [id, line] of leftovers) this.put(id, line);
    this.#write();
    this.leftovers = Array.from(leftovers, ([id, line]) => ({ id, line }));
    if (!this.#broken) for (const name of old) fs.rmSync(path.join(folder, name), { force: true });
  }

  /**
   * Opens the spool `name` under `folder`, with what dead processes of that name left there. While another live process
   * has it, this one gets a folder of its own beside it.
   * @throws when the folder cannot be written
   */
  static async open(folder: string, name: string, log: Log): Promise<Spool> {
    const leftovers = new Map<string, string>();
    const held: { folder: string; lock: FileLock }[] = [];
    for (let i = 1; i <= MAX_SHARERS; i++) {
      const candidate = path.join(folder, i === 1 ? name : `${name}.${i}`);
      if (held.length > 0 && !fs.existsSync(candidate)) continue;
      fs.mkdirSync(candidate, { recursive: true, mode: 0o700 });
      const lock = await tryLock(path.join(candidate, "lock"));
      if ("heldBy" in lock) continue;
      held.push({ folder: candidate, lock });
      readLeftovers(candidate, leftovers, log);
    }
    const [own, ...adopted] = held;
    if (own === undefined) throw new Error(`more than ${MAX_SHARERS} processes share the spool ${name}`);
    const spool = new Spool(own.folder, own.lock, leftovers, log);
    for (const { folder: emptied, lock } of adopted) {
      if (!spool.broken) for (const each of segmentsIn(emptied)) fs.rmSync(path.join(emptied, each), { force: true });
      await lock.release();
    }
    return spool;
  }

  /** True while the disk does not take what is put: it would not survive this process. */
  get broken(): boolean {
    return this.#broken;
  }

  get waitingCount(): number {
    return this.#segmentOf.size;
  }

  put(id: string, line: string): void {
    if (this.#bytes + this.#buffer.length > SEGMENT_BYTES) {
      this.#write();
      this.#openSegment();
    }
    const segment = this.#segments.at(-1) as Segment;
    this.#segmentOf.set(id, segment);
    segment.waiting++;
    this.#buffer += `+${id} ${line}\n`;
    if (this.#writeIsDue) return;
    this.#writeIsDue = true;
    queueMicrotask(() => this.#write());
  }

  /** It is where it should be: a next process need not know of it. */
  settle(id: string): void {
    const segment = this.#segmentOf.get(id);
    if (segment === undefined) return;
    this.#segmentOf.delete(id);
    segment.waiting--;
    this.#buffer += `-${id}\n`;
    this.#dropSettled();
    this.#settledTimer ??= setTimeout(() => this.#write(), SETTLED_WITHIN_MS).unref();
  }

  /** What still waits stays for the next process of this name. */
  async close(): Promise<void> {
    this.#write();
    fs.closeSync(this.#fd);
    if (this.#segmentOf.size === 0) for (const { file } of this.#segments) fs.rmSync(file, { force: true });
    await this.#lock.release();
  }

  #openSegment(): void {
    const file = path.join(this.#folder, `${String(++this.#count).padStart(8, "0")}.spool`);
    const fd = fs.openSync(file, "a", 0o600);
    if (this.#fd >= 0) fs.closeSync(this.#fd);
    this.#fd = fd;
    this.#bytes = 0;
    this.#segments.push({ file, waiting: 0 });
    this.#dropSettled();
  }

  #dropSettled(): void {
    while (this.#segments.length > 1 && this.#segments[0]?.waiting === 0) {
      fs.rmSync(this.#segments[0].file, { force: true });
      this.#segments.shift();
    }
  }

  #write(): void {
    this.#writeIsDue = false;
    clearTimeout(this.#settledTimer);
    this.#settledTimer = undefined;
    if (this.#buffer === "") return;
    try {
      if (this.#segmentOf.size === 0 && this.#bytes > EMPTY_FROM_BYTES) {
        fs.ftruncateSync(this.#fd);
        this.#bytes = 0;
      } else {
        // A write that the disk took only half of ended within a line; the next one begins with a line of its own.
        const text = this.#broken ? `\n${this.#buffer}` : this.#buffer;
        this.#bytes += Buffer.byteLength(text);
        fs.writeFileSync(this.#fd, text);
      }
      if (this.#broken) this.#log.info({ folder: this.#folder }, "the spool can be written again");
      this.#broken = false;
    } catch (error) {
      if (!this.#broken)
        this.#log.error(
          { err: error, folder: this.#folder },
          "the spool cannot be written; while that lasts, events that the bus has not stored would not survive a crash",
        );
      this.#broken = true;
    }
    this.#buffer = "";
  }
}

/** Names of a folder's segments, oldest first. */
function segmentsIn(folder: string): string[] {
  return fs
    .readdirSync(folder)
    .filter((name) => SEGMENT_NAME.test(name))
    .toSorted();
}

/** Adds what is unsettled in a folder to `leftovers`. A line that a crash cut off was never acted upon, and is left out. */
function readLeftovers(folder: string, leftovers: Map<string, string>, log: Log): void {
  const found = new Map<string, string>();
  let torn = 0;
  for (const name of segmentsIn(folder)) {
    const lines = fs.readFileSync(path.join(folder, name), "utf8").split("\n");
    const cut = lines.pop();
    if (cut !== "") torn++;
    for (const text of lines) {
      const put = /^\+(\S+) (.*)$/.exec(text);
      if (put?.[1] !== undefined && put[2] !== undefined) found.set(put[1], put[2]);
      else if (text.startsWith("-")) found.delete(text.slice(1));
      else if (text !== "") torn++;
    }
  }
  if (torn > 0) log.warn({ folder, lines: torn }, "the spool has lines that were not written to their end");
  for (const [id, line] of found) leftovers.set(id, line);
}
