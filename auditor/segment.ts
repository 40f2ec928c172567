import { readFile } from "node:fs/promises";
import path from "node:path";

/** First line of each segment: where it stands in the log and which stream its entries come from. */
export interface SegmentHeader {
  segment: number;
  /** Log position of its first entry. */
  first_sequence: number;
  /** When that stream was made: a stream that was deleted and made anew counts from 1 again. */
  stream_created: string;
  /** Entries of this segment lie behind this position of the stream. */
  after_stream_sequence: number;
}

/** Where an entry stands, without its content. */
export interface EntryPlace {
  sequence: number;
  streamSequence: number;
  jobId: string | null;
  /** Event type, or null for a rejected message. */
  type: string | null;
  /** What tells the event from all others ({@link eventKey}), or null for a rejected message. */
  key: string | null;
  /** Of its line in the segment, bytes, without the line end. */
  offset: number;
  length: number;
}

export interface ScannedSegment {
  file: string;
  header: SegmentHeader | undefined;
  entries: EntryPlace[];
  /** End of the last whole and well-formed line; what is behind it is damage. */
  goodBytes: number;
  totalBytes: number;
}

const NAME = /^segment-(\d{6,})\.jsonl$/;
const NEWLINE = 10;
/** Head of an entry's line, as `entryLine` writes it. */
const HEAD =
  /^\{"sequence":(\d+),"stream_sequence":(\d+),"job_id":(?:null|"([A-Za-z0-9_-]+)"),(?:"rejected":|("id":"(?:[^"\\]|\\.)*","source":"(?:[^"\\]|\\.)*"),"type":"(\w+)")/;
/** Long enough for any head: two positions, a job id, an event id and a source, escaped. */
const HEAD_BYTES = 2048;
/** A crash can damage only what was written last; so much of a segment's end is parsed whole, bytes. */
const CHECKED_TAIL_BYTES = 4 * 1024 * 1024;

/**
 * An event's id and source, as the head of its line has them. The source counts, because the broker vouches for it: else
 * one sender could keep another's event out of the log by using its id first.
 */
export function eventKey({ id, source }: { id: string; source: string }): string {
  return Buffer.from(`"id":${JSON.stringify(id)},"source":${JSON.stringify(source)}`).toString("latin1");
}

/** `segment-000001.jsonl` for 1. */
export function segmentFile(folder: string, number: number): string {
  return path.join(folder, `segment-${String(number).padStart(6, "0")}.jsonl`);
}

/** The number in a segment's file name, or undefined for other files. */
export function segmentNumber(fileName: string): number | undefined {
  const digits = NAME.exec(fileName)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** Reads one segment up to its first damaged line: torn, not ours, or not the next in sequence. */
export async function scanSegment(file: string): Promise<ScannedSegment> {
  const data = await readFile(file);
  const scanned: ScannedSegment = { file, header: undefined, entries: [], goodBytes: 0, totalBytes: data.length };
  let start = 0;
  for (let end = data.indexOf(NEWLINE); end !== -1; end = data.indexOf(NEWLINE, start)) {
    if (start === 0) {
      scanned.header = readHeader(data.toString("utf8", 0, end));
      if (scanned.header === undefined) break;
    } else {
      const place = readPlace(data, start, end);
      const expected = (scanned.header?.first_sequence ?? 1) + scanned.entries.length;
      if (place?.sequence !== expected) break;
      if (start > data.length - CHECKED_TAIL_BYTES && !isJson(data.toString("utf8", start, end))) break;
      scanned.entries.push(place);
    }
    start = end + 1;
    scanned.goodBytes = start;
  }
  return scanned;
}

/** The header in a segment's first line; undefined when it is none. */
export function readHeader(line: string): SegmentHeader | undefined {
  try {
    const header = JSON.parse(line) as Partial<SegmentHeader>;
    const numbers = [header.segment, header.first_sequence, header.after_stream_sequence];
    if (!numbers.every((value) => Number.isSafeInteger(value)) || typeof header.stream_created !== "string")
      return undefined;
    return header as SegmentHeader;
  } catch {
    return undefined;
  }
}

/** An entry's place from the head of its line; undefined when it is not an entry's. */
export function readPlace(data: Buffer, start: number, end: number): EntryPlace | undefined {
  const match = HEAD.exec(data.toString("latin1", start, Math.min(end, start + HEAD_BYTES)));
  if (match === null || data[end - 1] !== 0x7d) return undefined;
  const [, sequence, streamSequence, jobId, key, type] = match;
  return {
    sequence: Number(sequence),
    streamSequence: Number(streamSequence),
    jobId: jobId === undefined ? null : ownCopy(jobId),
    type: type === undefined ? null : ownCopy(type),
    key: key === undefined ? null : ownCopy(key),
    offset: start,
    length: end - start,
  };
}

/** A part of a text keeps the whole text in memory (V8), and the index keeps this part for as long as its segment is looked up. */
function ownCopy(text: string): string {
  return Buffer.from(text, "latin1").toString("latin1");
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
