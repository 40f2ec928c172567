/** Entries of the log as its tiles have them. Nothing here is checked against the tree: `audit verify` does that. */
import { MeshError, type LogEntry } from "../../bus-schemas/index.ts";
import type { StorageKeys } from "../at-rest/storage-keys.ts";
import { BadTile, type TileReader } from "../tlog/reader.ts";
import { TILE_WIDTH } from "../tlog/tiles.ts";

/** Where the entries of a log lie. */
export interface EntryFiles {
  /** Folder of the tiles. */
  tlog: string;
  /** Of an encrypted log. */
  keys?: StorageKeys | undefined;
}

/** An entry of a tile; one that was too large for it has `data_sha256` and `data_bytes` in the place of `data`. */
export type TileEntry = LogEntry & { data_sha256?: string; data_bytes?: number };

/**
 * The entries behind position `after` up to that of the tree, in order, a bundle at a time. Bundles that are no longer there
 * are passed over at the beginning: those of a pruned log.
 * @throws MeshError `conflict` where a bundle behind the first one is missing or damaged
 */
export function* entriesBehind(
  reader: TileReader,
  size: number,
  after: number,
): Generator<{ entry: TileEntry; bytes: Buffer }[], void, undefined> {
  let begun = false;
  for (let bundle = Math.floor(after / TILE_WIDTH); bundle * TILE_WIDTH < size; bundle++) {
    const found = begun ? readBundle(reader, bundle) : ifThere(reader, bundle);
    if (found === undefined) continue;
    begun = true;
    const first = bundle * TILE_WIDTH;
    yield found
      .slice(Math.max(0, after - first))
      .map((bytes, i) => ({ entry: parseEntry(bytes, Math.max(first, after) + i + 1), bytes }));
  }
}

/** Single entries by their position. */
export class EntryReader {
  readonly #reader: TileReader;
  /** What is asked for one after the other often lies in one bundle. */
  #last: { bundle: number; entries: Buffer[] } | undefined;

  constructor(reader: TileReader) {
    this.#reader = reader;
  }

  /** Undefined when its bundle is no longer there: the log was pruned. @throws MeshError `conflict`; BadTile for a damaged bundle */
  at(sequence: number): TileEntry | undefined {
    const bundle = Math.floor((sequence - 1) / TILE_WIDTH);
    if (this.#last?.bundle !== bundle) {
      const entries = ifThere(this.#reader, bundle);
      if (entries === undefined) return undefined;
      this.#last = { bundle, entries };
    }
    const bytes = this.#last.entries[(sequence - 1) % TILE_WIDTH];
    return bytes === undefined ? undefined : parseEntry(bytes, sequence);
  }
}

/** @throws MeshError `conflict` when the bytes are no entry of that position */
function parseEntry(bytes: Buffer, sequence: number): TileEntry {
  let entry: Partial<TileEntry>;
  try {
    entry = JSON.parse(bytes.toString()) as Partial<TileEntry>;
  } catch (cause) {
    throw new MeshError("conflict", `entry ${sequence} in the tiles is not JSON`, { cause });
  }
  if (entry?.sequence !== sequence)
    throw new MeshError("conflict", `entry ${sequence} in the tiles says that it is another one`);
  return entry as TileEntry;
}

function readBundle(reader: TileReader, bundle: number): Buffer[] {
  try {
    return reader.bundle(bundle);
  } catch (error) {
    if (error instanceof BadTile) throw new MeshError("conflict", `${error.file}: ${error.why}; restore it`);
    throw error;
  }
}

function ifThere(reader: TileReader, bundle: number): Buffer[] | undefined {
  try {
    return reader.bundle(bundle);
  } catch (error) {
    if (error instanceof BadTile && error.why === "missing") return undefined;
    throw error;
  }
}
