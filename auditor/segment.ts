import { hash } from "node:crypto";
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
  /** The storage key that its lines are encrypted with; not there in a plain one. */
  sealed_by?: string;
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
  /** Of its line in the segment, bytes, without the line end; of an encrypted one in the text of its record. */
  offset: number;
  length: number;
  /** Of an encrypted segment: the line that holds it, with others. */
  record?: RecordPlace | undefined;
}

/** Where a line of an encrypted segment is, bytes, without the line end. */
export interface RecordPlace {
  offset: number;
  length: number;
}

const NAME = /^segment-(\d{6,})\.jsonl$/;
const NEWLINE = 10;
const KEY_BYTES = 16;
/** Head of an entry's line, as `entryLine` writes it. */
const HEAD =
  /^\{"sequence":(\d+),"stream_sequence":(\d+),"job_id":(?:null|"([A-Za-z0-9_-]+)"),(?:"rejected":|("id":"(?:[^"\\]|\\.)*","source":"(?:[^"\\]|\\.)*"),"type":"(\w+)")/;
/** Long enough for any head: two positions, a job id, an event id and a source, escaped. */
const HEAD_BYTES = 2048;

/**
 * Stands for an event's id and source, as the head of its line has them: 128 bits of their SHA-256, because hundreds of thousands are
 * kept in memory. The source counts, because the broker vouches for it: else one sender could keep another's event out of the
 * log by using its id first.
 */
export function eventKey({ id, source }: { id: string; source: string }): string {
  return shortKey(Buffer.from(`"id":${JSON.stringify(id)},"source":${JSON.stringify(source)}`));
}

function shortKey(text: Buffer): string {
  return hash("sha256", text, "buffer").toString("latin1", 0, KEY_BYTES);
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

/** The places of whole lines. */
export function placesIn(text: Buffer): EntryPlace[] {
  const places: EntryPlace[] = [];
  let start = 0;
  for (let end = text.indexOf(NEWLINE); end !== -1; end = text.indexOf(NEWLINE, start)) {
    const place = readPlace(text, start, end);
    if (place !== undefined) places.push(place);
    start = end + 1;
  }
  return places;
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
    key: key === undefined ? null : shortKey(Buffer.from(key, "latin1")),
    offset: start,
    length: end - start,
  };
}

/** A part of a text keeps the whole text in memory (V8), and the index keeps this part for as long as its segment is looked up. */
function ownCopy(text: string): string {
  return Buffer.from(text, "latin1").toString("latin1");
}
