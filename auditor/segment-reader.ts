import { createReadStream } from "node:fs";
import { open, readdir } from "node:fs/promises";
import { createInterface } from "node:readline";
import { MeshError, type LogEntry } from "../bus-schemas/index.ts";
import { readHeader, segmentFile, segmentNumber } from "./segment.ts";

/** A segment's header is far shorter, bytes. */
const HEADER_BYTES = 1024;

/**
 * The entries of a log behind position `after`, up to `upTo`, in order, `batch` at a time. Only segments that may hold such are
 * read, and nothing behind the last of them: it may be half written yet.
 * @throws MeshError `conflict` naming file and line where a segment is damaged; the file system's errors.
 */
export async function* entriesAfter(
  folder: string,
  { after, upTo }: { after: number; upTo: number },
  batch: number,
): AsyncGenerator<LogEntry[], void, undefined> {
  let entries: LogEntry[] = [];
  for (const file of await segmentsBehind(folder, after)) {
    let number = 0;
    for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
      if (++number === 1) continue;
      const entry = parse(line, `${file}:${number}`);
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
  const handle = await open(file, "r");
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0);
    const header = readHeader(buffer.toString("utf8", 0, bytesRead).split("\n")[0] ?? "");
    if (header === undefined) throw new MeshError("conflict", `${file}: its first line is no segment header`);
    return header.first_sequence;
  } finally {
    await handle.close();
  }
}

function parse(line: string, where: string): LogEntry {
  try {
    return JSON.parse(line) as LogEntry;
  } catch (cause) {
    throw new MeshError("conflict", `${where}: damaged; restore the segment`, { cause });
  }
}
