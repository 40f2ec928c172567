import { NO_KEYS, type StorageKeys } from "../at-rest/storage-keys.ts";
import { leafHash } from "./hash.ts";
import type { Problem } from "./verify.ts";
import { readMinimumIndex } from "./minimum-index.ts";
import { BadTile, TileReader } from "./reader.ts";
import { TILE_WIDTH, levelCount, tilePath, widthOf } from "./tiles.ts";
import { perfectRoot, rootOf, same } from "./tree.ts";
import type { TreeHead } from "./checkpoint.ts";

/** Bundles that are looked at in one go: some 20 ms. */
const BUNDLES = 16;

/**
 * Goes over a log's files again and again, a little at a time, beside its writer: what was deleted, cut or changed on the disk
 * since is found while there is still a copy to restore it from.
 */
export class Scrubber {
  readonly #folder: string;
  readonly #keys: StorageKeys;
  /** The bundle that comes next. */
  #next = 0;
  /** What is wrong, by file. */
  readonly #damaged = new Map<string, string>();

  constructor(folder: string, keys = NO_KEYS) {
    this.#folder = folder;
    this.#keys = keys;
  }

  /** What is wrong, as far as was looked. */
  get damaged(): Problem[] {
    return Array.from(this.#damaged, ([file, what]) => ({ file, what }));
  }

  /** Looks at the next bundles and their tiles, and whether the tree still leads to its root. @returns what was not known before */
  look(head: TreeHead): Problem[] {
    const before = new Set(this.#damaged.keys());
    const reader = new TileReader(this.#folder, head.size, this.#keys);
    const count = Math.ceil(head.size / TILE_WIDTH);
    const first = Math.max(this.#next >= count ? 0 : this.#next, readMinimumIndex(this.#folder) / TILE_WIDTH);
    this.#next = first + BUNDLES;
    for (let index = first; index < Math.min(count, this.#next); index++) {
      this.#check("entries", index, head.size, () =>
        reader.bundle(index).every((entry, i) => same(leafHash(entry), reader.tile(0, index)[i] ?? entry)),
      );
      this.#check(0, index, head.size, () => isUnder(reader, index, head.size));
    }
    this.#try("checkpoint", "the tiles no longer lead to its root", () =>
      same(rootOf(head.size, reader.subtrees), head.root),
    );
    return this.damaged.filter(({ file }) => !before.has(file));
  }

  #check(level: "entries" | 0, index: number, size: number, holds: () => boolean): void {
    this.#try(tilePath({ level, index, width: widthOf(level, index, size) }), "was changed", holds);
  }

  #try(file: string, what: string, holds: () => boolean): void {
    try {
      if (holds()) this.#damaged.delete(file);
      else this.#damaged.set(file, what);
    } catch (error) {
      if (!(error instanceof BadTile)) throw error;
      this.#damaged.set(file, error.file === file ? error.why : `${error.file}: ${error.why}`);
    }
  }
}

/** Whether a full tile hashes to its place above it. */
function isUnder(reader: TileReader, index: number, size: number): boolean {
  const hashes = reader.tile(0, index);
  if (index >= levelCount(1, size)) return true;
  const above = reader.tile(1, Math.floor(index / TILE_WIDTH))[index % TILE_WIDTH];
  return above !== undefined && same(perfectRoot(hashes), above);
}
