/** Reads the tiles and bundles of a log's folder, for a tree of one size. Nothing it returns is checked. */
import { readFileSync } from "node:fs";
import path from "node:path";
import { MeshError } from "../../bus-schemas/index.ts";
import { MissingStorageKey, NO_KEYS, type StorageKeys } from "../at-rest/storage-keys.ts";
import { decodeBundle } from "./bundle.ts";
import { HASH_BYTES } from "./hash.ts";
import { TILE_HEIGHT, TILE_WIDTH, tilePath, widthOf, type Tile } from "./tiles.ts";
import { perfectRoot, type Subtrees } from "./tree.ts";

/** Why a tile cannot be used; `file` is its path below the log's folder. */
export class BadTile extends MeshError {
  readonly file: string;
  readonly why: string;

  constructor(file: string, why: string) {
    super("not_found", `${file}: ${why}`);
    this.file = file;
    this.why = why;
  }
}

/** What entries lie in. */
const BUNDLES = "tile/entries/";

export class TileReader {
  readonly #folder: string;
  readonly #size: number;
  readonly #keys: StorageKeys;
  /** The last tile of each level: neighbours are asked for one after the other. */
  readonly #last = new Map<Tile["level"], { index: number; hashes: Buffer[] }>();

  /**
   * @param size entries of the tree that is read, which may be smaller than what the folder holds.
   * @param keys of a log that is encrypted; without any, its entries are no damage but {@link MissingStorageKey}
   */
  constructor(folder: string, size: number, keys: StorageKeys = NO_KEYS) {
    this.#folder = folder;
    this.#size = size;
    this.#keys = keys;
  }

  /** For the functions of tree.ts. */
  readonly subtrees: Subtrees = (height, index) => {
    const width = 2 ** (height % TILE_HEIGHT);
    const first = index * width;
    const hashes = this.tile(Math.floor(height / TILE_HEIGHT), Math.floor(first / TILE_WIDTH));
    return perfectRoot(hashes.slice(first % TILE_WIDTH, (first % TILE_WIDTH) + width));
  };

  /** The hashes of a tile. @throws BadTile when it is missing or too short. */
  tile(level: number, index: number): Buffer[] {
    const known = this.#last.get(level);
    if (known?.index === index) return known.hashes;
    const { file, data, width } = this.#read(level, index);
    if (data.length < width * HASH_BYTES || data.length % HASH_BYTES !== 0)
      throw new BadTile(file, `${data.length} bytes where ${width * HASH_BYTES} belong`);
    const hashes = Array.from({ length: width }, (_, i) => data.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES));
    this.#last.set(level, { index, hashes });
    return hashes;
  }

  /** The entries of a bundle. @throws BadTile when it is missing, too short or cannot be taken apart. */
  bundle(index: number): Buffer[] {
    const { file, data, width } = this.#read("entries", index);
    const entries = decodeBundle(data);
    if (entries === undefined) throw new BadTile(file, "its lengths do not end where it ends");
    if (entries.length < width) throw new BadTile(file, `${entries.length} entries where ${width} belong`);
    return entries.slice(0, width);
  }

  /** A tile or bundle of this path as the format has it, decrypted; undefined when there is none. @throws BadTile, MissingStorageKey */
  content(file: string): Buffer | undefined {
    const data = read(path.join(this.#folder, file));
    if (data === undefined || !file.startsWith(BUNDLES)) return data;
    try {
      const opened = this.#keys.open(data, file);
      if (opened !== undefined) return opened;
    } catch (error) {
      if (!(error instanceof MissingStorageKey) || this.#keys.current === undefined) throw error;
      throw new BadTile(file, "encrypted by a storage key that is not here");
    }
    throw new BadTile(file, "was changed: it cannot be decrypted");
  }

  #read(level: Tile["level"], index: number): { file: string; data: Buffer; width: number } {
    const width = widthOf(level, index, this.#size);
    // A partial tile that has become full may have been removed since.
    for (const asked of [width, TILE_WIDTH]) {
      const file = tilePath({ level, index, width: asked });
      const data = this.content(file);
      if (data !== undefined) return { file, data, width };
    }
    throw new BadTile(tilePath({ level, index, width }), "missing");
  }
}

function read(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new MeshError("bad_request", `${file}: cannot be read`, { cause: error });
  }
}
