/**
 * The lines of an encrypted segment. The first is its header, in clear; each other one holds some entries' lines as one
 * ciphertext: `{"first":8,"count":3,"sealed":"…"}`. Written with one write and one fsync, as plain ones are, and torn by a crash as
 * those are. Header and position are bound to it: no line fits another place.
 */
import path from "node:path";
import { MeshError } from "../../bus-schemas/index.ts";
import { placesIn, segmentFile, type EntryPlace, type SegmentHeader } from "../segment.ts";
import type { StorageKey, StorageKeys } from "./storage-keys.ts";

/** Text in one line, unless a single entry is larger, bytes: what is decrypted to read one entry. */
const RECORD_BYTES = 64 * 1024;

const LINE = /^\{"first":(\d+),"count":(\d+),"sealed":"([A-Za-z0-9+/]+=*)"\}$/;

/** The seal of a segment; undefined for a plain one. @throws MissingStorageKey; MeshError `conflict` when it is not the segment that its name says */
export function sealOf(header: SegmentHeader, file: string, keys: StorageKeys): SegmentSeal | undefined {
  const { sealed_by: id, segment } = header;
  if (id === undefined) return undefined;
  if (path.basename(file) !== path.basename(segmentFile("", segment)))
    throw new MeshError("conflict", `${file}: is segment ${segment} by its header; give it its own name back`);
  return new SegmentSeal(keys.get(id, file), header);
}

export class SegmentSeal {
  readonly #key: StorageKey;
  readonly #header: string;

  constructor(key: StorageKey, header: SegmentHeader) {
    this.#key = key;
    this.#header = JSON.stringify(header);
  }

  /** Seals lines (line ends included). @param first position of the first @param base where the result begins in the segment */
  lines(lines: readonly Buffer[], first: number, base: number): { data: Buffer; places: EntryPlace[] } {
    const sealed: Buffer[] = [];
    const places: EntryPlace[] = [];
    let offset = base;
    for (let at = 0; at < lines.length;) {
      const group = fitting(lines, at);
      const text = Buffer.concat(group);
      const line = this.#seal(text, first + at, group.length);
      const record = { offset, length: line.length - 1 };
      for (const place of placesIn(text)) places.push({ ...place, record });
      sealed.push(line);
      offset += line.length;
      at += group.length;
    }
    return { data: Buffer.concat(sealed), places };
  }

  /**
   * The entries' lines that a line (without its end) holds; undefined when it cannot be decrypted.
   * @param at position that must be the first one's, where it is known
   */
  open(line: string, at?: number): Buffer | undefined {
    const [, first, count, sealed] = LINE.exec(line) ?? [];
    if (sealed === undefined || (at !== undefined && Number(first) !== at)) return undefined;
    return this.#key.open(Buffer.from(sealed, "base64"), this.#about(Number(first), Number(count)));
  }

  #seal(text: Buffer, first: number, count: number): Buffer {
    const sealed = this.#key.seal(text, this.#about(first, count)).toString("base64");
    return Buffer.from(`{"first":${first},"count":${count},"sealed":"${sealed}"}\n`);
  }

  #about(first: number, count: number): string {
    return `tiermesh audit segment\n${this.#header}\n${first} ${count}`;
  }
}

/** The lines from `at` on that one record holds: one at least. */
function fitting(lines: readonly Buffer[], at: number): Buffer[] {
  let end = at;
  for (let bytes = 0; end < lines.length; end++) {
    bytes += lines[end]?.length ?? 0;
    if (bytes > RECORD_BYTES && end > at) break;
  }
  return lines.slice(at, end);
}
