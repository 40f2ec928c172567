/** Names and sizes of the static files of a log, by c2sp.org/tlog-tiles. Pure. */

/** Hashes in a full tile, and entries in a full bundle. */
export const TILE_WIDTH = 256;
/** Levels of the tree in one tile: 2^8 = 256. */
export const TILE_HEIGHT = 8;

/** Highest level that a tile's path may name. */
const MAX_LEVEL = 63;

/** A tile of hashes, or with level "entries" a bundle of entries. */
export interface Tile {
  level: number | "entries";
  index: number;
  /** 1 to 256; below 256 the tile is partial. */
  width: number;
}

/** `tile/0/x001/x234/067`, or `tile/0/000.p/17` for a partial tile; with `/` on every system. */
export function tilePath({ level, index, width }: Tile): string {
  const groups = [String(index % 1000).padStart(3, "0")];
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000))
    groups.unshift(`x${String(rest % 1000).padStart(3, "0")}`);
  return `tile/${level}/${groups.join("/")}${width === TILE_WIDTH ? "" : `.p/${width}`}`;
}

const PATH = /^tile\/(entries|\d{1,2})\/((?:x\d{3}\/)*\d{3})(?:\.p\/(\d{1,3}))?$/;

/** The tile of a path; undefined for any other text, and for a second way to write a tile's path. */
export function parseTilePath(path: string): Tile | undefined {
  const [, level = "", groups = "", width] = PATH.exec(path) ?? [];
  if (level === "") return undefined;
  const tile: Tile = {
    level: level === "entries" ? level : Number(level),
    index: Number(groups.replaceAll(/[x/]/g, "")),
    width: width === undefined ? TILE_WIDTH : Number(width),
  };
  const valid =
    (level === "entries" || Number(level) <= MAX_LEVEL) && tile.width > 0 && Number.isSafeInteger(tile.index);
  return valid && tilePath(tile) === path ? tile : undefined;
}

/** How many hashes (or entries) level `level` holds in a tree of `size` entries: floor(size / 256^level). */
export function levelCount(level: Tile["level"], size: number): number {
  return Math.floor(size / TILE_WIDTH ** (level === "entries" ? 0 : level));
}

/** Width of tile `index` of a level in a tree of `size` entries, 0 when it is not there. */
export function widthOf(level: Tile["level"], index: number, size: number): number {
  return Math.max(0, Math.min(TILE_WIDTH, levelCount(level, size) - index * TILE_WIDTH));
}
