import { createReadStream } from "node:fs";
import { open, readdir } from "node:fs/promises";
import { createInterface } from "node:readline";
import { MeshError, type LogEntry } from "../bus-schemas/index.ts";
import { sealOf, type SegmentSeal } from "./at-rest/segment-seal.ts";
import type { StorageKeys } from "./at-rest/storage-keys.ts";
import { readHeader, segmentFile, segmentNumber, type SegmentHeader } from "./segment.ts";

/** A segment's header is far shorter, bytes. */
const HEADER_BYTES = 1024;

/** A line of a segment: its header, or an entry's. */
export interface SegmentLine {
  header: SegmentHeader | undefined;
  text: string;
  /** Of the line in the file, from 1; several entries lie in one of an encrypted segment. */
  number: number;
}

/**
 * The lines of a file, decrypted where it is an encrypted segment. One that is no segment is read as it is.
 * @throws MeshError `conflict` naming file and line that cannot be decrypted; MissingStorageKey; the file system's errors
 */
export async function* segmentLines(file: string, keys: StorageKeys): AsyncGenerator<SegmentLine, void, undefined> {
  let number = 0;
  let seal: SegmentSeal | undefined;
  let next = 0;
  for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
    const header = ++number === 1 ? readHeader(line) : undefined;
    if (header !== undefined) {
      seal = sealOf(header, file, keys);
      next = header.first_sequence;
    }
    if (header !== undefined || seal === undefined) {
      yield { header, text: line, number };
      continue;
    }
    const texts = seal.open(line, next)?.toString().split("\n");
    if (texts === undefined) throw damaged(`${file}:${number}`);
    next += texts.length - 1;
    for (const text of texts.slice(0, -1)) yield { header: undefined, text, number };
  }
}

/**
 * The entries of a log behind position `after`, up to `upTo`, in order, `batch` at a time. Only segments that may hold such are
 * read, and nothing behind the last of them: it may be half written yet.
 * @throws MeshError `conflict` naming file and line where a segment is damaged; MissingStorageKey; the file system's errors.
 */
export async function* entriesAfter(
  folder: string,
  { after, keys, upTo }: { after: number; upTo: number; keys: StorageKeys },
  batch: number,
): AsyncGenerator<LogEntry[], void, undefined> {
  let entries: LogEntry[] = [];
  for (const file of await segmentsBehind(folder, after)) {
    for await (const { number, text } of segmentLines(file, keys)) {
      if (number === 1) continue;
      const entry = parseEntry(text, `${file}:${number}`);
      if (entry.sequence <= after) continue;
      entries.push(entry);
      const isLast = entry.sequence >= upTo;
      if (entries.length < batch && !isLast) continue;
      yield entries;
      if (isLast) return;
      entries = [];
    }
  }
  if (entries.length > 0) yield entries;
}

/** The segments from that one on which holds the entry behind `after`, oldest first. */
async function segmentsBehind(folder: string, after: number): Promise<string[]> {
  const numbers = (await readdir(folder)).map(segmentNumber).filter((number) => number !== undefined);
  const files: string[] = [];
  for (const number of numbers.toSorted((a, b) => b - a)) {
    const file = segmentFile(folder, number);
    files.unshift(file);
    if ((await firstSequence(file)) <= after + 1) break;
  }
  return files;
}

/** Log position of a segment's first entry. @throws MeshError `conflict` when it has no header; the file system's errors. */
export async function firstSequence(file: string): Promise<number> {
  const header = await readSegmentHeader(file);
  if (header === undefined) throw new MeshError("conflict", `${file}: its first line is no segment header`);
  return header.first_sequence;
}

/** The header of a segment; undefined when its first line is none. @throws the file system's errors */
export async function readSegmentHeader(file: string): Promise<SegmentHeader | undefined> {
  const handle = await open(file, "r");
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0);
    return readHeader(buffer.toString("utf8", 0, bytesRead).split("\n")[0] ?? "");
  } finally {
    await handle.close();
  }
}

/** @throws MeshError `conflict` naming where it is damaged */
export function parseEntry(line: string, where: string): LogEntry {
  try {
    return JSON.parse(line) as LogEntry;
  } catch (cause) {
    throw damaged(where, cause);
  }
}

function damaged(where: string, cause?: unknown): MeshError {
  return new MeshError("conflict", `${where}: damaged; restore the segment`, { cause });
}
