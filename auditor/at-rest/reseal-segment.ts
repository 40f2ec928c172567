import { open, rename } from "node:fs/promises";
import path from "node:path";
import { DISK, UNFINISHED } from "../tlog/files.ts";
import { parseEntry, segmentLines, type SegmentLine } from "../segment-reader.ts";
import type { SegmentHeader } from "../segment.ts";
import { sealOf } from "./segment-seal.ts";
import type { StorageKeys } from "./storage-keys.ts";

/** Lines that are written at once. */
const LINES = 1024;

/** Whether a segment is not encrypted by the newest key, if there is one. */
export function isOutdated({ sealed_by: id }: SegmentHeader, { current }: StorageKeys): boolean {
  return current !== undefined && id !== current.id;
}

/**
 * Encrypts a segment by the newest key, whatever it was before, whole or not at all: a crash leaves the old one. Nobody may be
 * writing to it, or keep places in it.
 * @throws MeshError `conflict` when a line of it is damaged; MissingStorageKey; the file system's errors
 */
export async function resealSegment(file: string, keys: StorageKeys): Promise<void> {
  const { current } = keys;
  if (current === undefined) return;
  const unfinished = `${file}${UNFINISHED}`;
  await DISK.remove(unfinished);
  const handle = await open(unfinished, "wx", 0o600);
  try {
    let waiting: Buffer[] = [];
    let [size, next] = [0, 0];
    let header: SegmentHeader | undefined;
    const write = async () => {
      if (header === undefined || waiting.length === 0) return;
      const { data } = sealOf(header, file, keys)?.lines(waiting, next, size) ?? { data: Buffer.alloc(0) };
      await handle.writeFile(data);
      size += data.length;
      next += waiting.length;
      waiting = [];
    };
    for await (const line of segmentLines(file, keys)) {
      if (line.header === undefined) waiting.push(wholeLine(line, file));
      else {
        header = { ...line.header, sealed_by: current.id };
        next = header.first_sequence;
        await handle.writeFile(`${JSON.stringify(header)}\n`);
      }
      if (waiting.length >= LINES) await write();
    }
    await write();
    await handle.sync();
  } catch (error) {
    await DISK.remove(unfinished);
    throw error;
  } finally {
    await handle.close();
  }
  await rename(unfinished, file);
  await DISK.syncFolder(path.dirname(file));
}

/** A torn or damaged line must not come under a seal that says it is whole. */
function wholeLine({ number, text }: SegmentLine, file: string): Buffer {
  parseEntry(text, `${file}:${number}`);
  return Buffer.from(`${text}\n`);
}
