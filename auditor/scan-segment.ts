import { readFile } from "node:fs/promises";
import { sealOf, type SegmentSeal } from "./at-rest/segment-seal.ts";
import type { StorageKeys } from "./at-rest/storage-keys.ts";
import { placesIn, readHeader, readPlace, type EntryPlace, type SegmentHeader } from "./segment.ts";

export interface ScannedSegment {
  file: string;
  header: SegmentHeader | undefined;
  entries: EntryPlace[];
  /** End of the last whole and well-formed line; what is behind it is damage. */
  goodBytes: number;
  totalBytes: number;
}

const NEWLINE = 10;
/** A crash can damage only what was written last; so much of a segment's end is parsed whole, bytes. */
const CHECKED_TAIL_BYTES = 4 * 1024 * 1024;

/**
 * Reads one segment up to its first damaged line: torn, not ours, or not the next in sequence.
 * @throws MissingStorageKey
 */
export async function scanSegment(file: string, keys: StorageKeys): Promise<ScannedSegment> {
  const data = await readFile(file);
  let seal: SegmentSeal | undefined;
  const scanned: ScannedSegment = { file, header: undefined, entries: [], goodBytes: 0, totalBytes: data.length };
  let start = 0;
  for (let end = data.indexOf(NEWLINE); end !== -1; end = data.indexOf(NEWLINE, start)) {
    if (start === 0) {
      scanned.header = readHeader(data.toString("utf8", 0, end));
      if (scanned.header === undefined) break;
      seal = sealOf(scanned.header, file, keys);
    } else {
      const places = seal === undefined ? plainPlace(data, start, end) : sealedPlaces(seal, data, start, end);
      const expected = (scanned.header?.first_sequence ?? 1) + scanned.entries.length;
      if (places.length === 0 || places.some(({ sequence }, i) => sequence !== expected + i)) break;
      scanned.entries.push(...places);
    }
    start = end + 1;
    scanned.goodBytes = start;
  }
  return scanned;
}

function plainPlace(data: Buffer, start: number, end: number): EntryPlace[] {
  const place = readPlace(data, start, end);
  const isTail = start > data.length - CHECKED_TAIL_BYTES;
  return place === undefined || (isTail && !isJson(data.toString("utf8", start, end))) ? [] : [place];
}

/** The entries of an encrypted line; none when it cannot be decrypted. */
function sealedPlaces(seal: SegmentSeal, data: Buffer, start: number, end: number): EntryPlace[] {
  const text = seal.open(data.toString("latin1", start, end));
  const record = { offset: start, length: end - start };
  return text === undefined ? [] : placesIn(text).map((place) => ({ ...place, record }));
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
