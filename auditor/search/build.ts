/** Makes the search index of a log from its tiles, and keeps it up with them. */
import { closeSync, fsyncSync, openSync, renameSync, rmSync } from "node:fs";
import path from "node:path";
import type { Checkpoint } from "../tlog/checkpoint.ts";
import { TileReader } from "../tlog/reader.ts";
import { TILE_WIDTH } from "../tlog/tiles.ts";
import { indexRow, type IndexRow } from "./index-row.ts";
import { INDEX_BATCH, INDEX_FILE, SearchIndex } from "./search-index.ts";
import { entriesBehind, type EntryFiles } from "./tile-entries.ts";

/** A log that can be read: its tiles, up to a checkpoint. */
export interface ReadableLog extends EntryFiles {
  checkpoint: Checkpoint;
}

/**
 * Reads all tiles and puts a new index in the place of the one that is there; until that is done the old one is left alone. A
 * running auditor takes the new one up by itself.
 * @returns the number of entries that are in it
 * @throws MeshError `conflict` for tiles that cannot be read; the errors of file system and database
 */
export function rebuildIndex(folder: string, log: ReadableLog, onProgress?: (done: number) => void): number {
  const unfinished = path.join(folder, `${INDEX_FILE}.${process.pid}.tmp`);
  rmSync(unfinished, { force: true });
  const index = new SearchIndex(unfinished, { bulk: true, ...(log.keys && { keys: log.keys }) });
  try {
    let added = 0;
    while (index.log.last < log.checkpoint.size) {
      added += catchUp(index, log);
      onProgress?.(added);
    }
    index.finish();
    index.close();
    sync(unfinished);
    renameSync(unfinished, path.join(folder, INDEX_FILE));
    return added;
  } finally {
    index.close();
    rmSync(unfinished, { force: true });
  }
}

/** Adds at most {@link INDEX_BATCH} entries that the tiles have beyond the index; how many there were. */
export function catchUp(index: SearchIndex, { tlog, checkpoint, keys }: ReadableLog): number {
  const { origin, size } = checkpoint;
  const reader = new TileReader(tlog, size, keys);
  const rows: IndexRow[] = [];
  for (const bundle of entriesBehind(reader, size, index.log.last)) {
    for (const { entry } of bundle) rows.push(indexRow(entry));
    if (rows.length >= INDEX_BATCH) break;
  }
  const last = rows.at(-1)?.sequence ?? size;
  index.add(rows, { origin, last, leaf: leafOf(reader, last) });
  return rows.length;
}

/** Whether an index is of this log, or of an earlier state of it: if not, it has to be made anew. */
export function isOf(index: SearchIndex, { tlog, checkpoint }: ReadableLog): boolean {
  const { origin, last, leaf } = index.log;
  if (last === 0) return true;
  if (origin !== checkpoint.origin || last > checkpoint.size) return false;
  return leafOf(new TileReader(tlog, checkpoint.size), last) === leaf;
}

function leafOf(reader: TileReader, sequence: number): string {
  if (sequence === 0) return "";
  const hash = reader.tile(0, Math.floor((sequence - 1) / TILE_WIDTH))[(sequence - 1) % TILE_WIDTH];
  return hash?.toString("base64") ?? "";
}

function sync(file: string): void {
  const handle = openSync(file, "r+");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
