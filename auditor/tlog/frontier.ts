/** The right edge of a log's tree: all that a writer has to know to go on. Pure. */
import { encodeBundle } from "./bundle.ts";
import { leafHash } from "./hash.ts";
import { TILE_HEIGHT, TILE_WIDTH, levelCount, tilePath, type Tile } from "./tiles.ts";
import { perfectRoot, rootOf, type Subtrees } from "./tree.ts";

export interface Frontier {
  /** Entries in the tree. */
  size: number;
  /** The hashes of each level's last, partial tile, from level 0 up; at most 255 of each. */
  levels: readonly (readonly Uint8Array[])[];
  /** The entries of the last, partial bundle. */
  bundle: readonly Uint8Array[];
}

export const EMPTY: Frontier = { size: 0, levels: [], bundle: [] };

/** What comes of adding entries. */
export interface Growth {
  frontier: Frontier;
  /** Content of the files to write, by path; none that was there before changes. */
  files: Map<string, Buffer>;
  /** Tiles that have become full: their partial forms may go once the checkpoint is written. */
  filled: Tile[];
}

/** @throws MeshError `payload_too_large` for an entry above 65,535 bytes. */
export function grow(frontier: Frontier, entries: readonly Uint8Array[]): Growth {
  const levels = frontier.levels.map((hashes) => [...hashes]);
  const touched = new Set<number>();
  const files = new Map<string, Buffer>();
  const filled: Tile[] = [];
  let { size } = frontier;
  let bundle = [...frontier.bundle];

  const put = (tile: Tile, content: Buffer) => {
    files.set(tilePath(tile), content);
    if (tile.width === TILE_WIDTH) filled.push(tile);
  };
  const add = (level: number, hash: Uint8Array) => {
    const hashes = (levels[level] ??= []);
    hashes.push(hash);
    touched.add(level);
    if (hashes.length < TILE_WIDTH) return;
    // The size already counts the entry that filled this tile.
    put({ level, index: levelCount(level + 1, size) - 1, width: TILE_WIDTH }, Buffer.concat(hashes));
    levels[level] = [];
    add(level + 1, perfectRoot(hashes));
  };
  for (const entry of entries) {
    bundle.push(entry);
    size++;
    if (bundle.length === TILE_WIDTH) {
      put({ level: "entries", index: levelCount(1, size) - 1, width: TILE_WIDTH }, encodeBundle(bundle));
      bundle = [];
    }
    add(0, leafHash(entry));
  }
  for (const level of touched) {
    const hashes = levels[level] ?? [];
    if (hashes.length > 0)
      put({ level, index: levelCount(level + 1, size), width: hashes.length }, Buffer.concat(hashes));
  }
  if (entries.length > 0 && bundle.length > 0)
    put({ level: "entries", index: levelCount(1, size), width: bundle.length }, encodeBundle(bundle));
  return { frontier: { size, levels, bundle }, files, filled };
}

/** Root of the tree. It needs the right edge only. */
export function frontierRoot({ size, levels }: Frontier): Uint8Array {
  const subtrees: Subtrees = (height, index) => {
    const level = Math.floor(height / TILE_HEIGHT);
    const width = 2 ** (height % TILE_HEIGHT);
    const first = (index * width) % TILE_WIDTH;
    return perfectRoot((levels[level] ?? []).slice(first, first + width));
  };
  return rootOf(size, subtrees);
}
