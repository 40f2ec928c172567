/** Pruning by c2sp.org/tlog-tiles: a log may drop a beginning of its entries; the tree stays as it is. */
import { readFileSync } from "node:fs";
import path from "node:path";
import { MeshError } from "../../bus-schemas/index.ts";
import { DISK, replaceFiles, type Disk } from "./files.ts";
import { TILE_WIDTH, tilePath, type Tile } from "./tiles.ts";

/** Below a log's folder: the index of the first entry that it has, in decimal. Not there while it has all. */
export const MINIMUM_INDEX_FILE = "minimum-index";

/** Index of the first entry of a log's folder. @throws MeshError `bad_request` when the file holds no such number. */
export function readMinimumIndex(folder: string): number {
  let text: string;
  try {
    text = readFileSync(path.join(folder, MINIMUM_INDEX_FILE), "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return 0;
    throw new MeshError("bad_request", "cannot be read", { cause });
  }
  const index = /^(?:0|[1-9]\d{0,15})\n$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(index) || index % TILE_WIDTH !== 0)
    throw new MeshError("bad_request", "is not the index of the first entry of a bundle");
  return index;
}

/** Whether a log with this minimum index may lack a tile: all that it spans lies before it. */
export function isPruned({ level, index }: Pick<Tile, "level" | "index">, minimum: number): boolean {
  return (index + 1) * TILE_WIDTH ** ((level === "entries" ? 0 : level) + 1) <= minimum;
}

/**
 * Drops the entries before `minimum`, a multiple of 256. That they are gone is written down first, so a crash leaves tiles
 * that may go, and never a log that lacks some it should have. @throws the file system's errors
 */
export async function pruneTiles(folder: string, minimum: number, disk: Disk = DISK): Promise<void> {
  const before = readMinimumIndex(folder);
  if (minimum <= before) return;
  await replaceFiles(disk, new Map([[path.join(folder, MINIMUM_INDEX_FILE), Buffer.from(`${minimum}\n`)]]));
  const place = (level: Tile["level"], index: number) =>
    path.join(folder, tilePath({ level, index, width: TILE_WIDTH }));
  for (const level of ["entries", ...levelsBelow(minimum)] as const) {
    const first = Math.floor(before / TILE_WIDTH ** ((level === "entries" ? 0 : level) + 1));
    for (let index = first; isPruned({ level, index }, minimum); index++) await disk.remove(place(level, index));
    // What an earlier run did not come to remove.
    for (let index = first - 1; index >= 0 && (await disk.read(place(level, index))) !== undefined; index--)
      await disk.remove(place(level, index));
  }
}

/** The levels of which whole tiles lie before an index. */
function levelsBelow(minimum: number): number[] {
  const levels: number[] = [];
  for (let level = 0; isPruned({ level, index: 0 }, minimum); level++) levels.push(level);
  return levels;
}
