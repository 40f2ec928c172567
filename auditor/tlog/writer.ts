/**
 * The one writer of a log in a folder. A checkpoint is written only when every tile and bundle it covers is on the disk,
 * and is replaced by a rename. So a crash between any two steps leaves the last checkpoint and all that it covers; what
 * was written beyond it is written again, with the same content if the same entries come again.
 */
import path from "node:path";
import { MeshError } from "../../bus-schemas/index.ts";
import { sealedDisk } from "../at-rest/sealed-disk.ts";
import { NO_KEYS, type StorageKeys } from "../at-rest/storage-keys.ts";
import { decodeBundle } from "./bundle.ts";
import { openCheckpoint, signCheckpoint, type Checkpoint, type TreeHead } from "./checkpoint.ts";
import { DISK, replaceFiles, type Disk } from "./files.ts";
import { EMPTY, frontierRoot, grow, type Frontier } from "./frontier.ts";
import { HASH_BYTES, leafHash } from "./hash.ts";
import { parseVerifierKey, type NoteSigner } from "./keys.ts";
import { TILE_WIDTH, levelCount, tilePath, widthOf, type Tile } from "./tiles.ts";
import { same } from "./tree.ts";

/** The newest checkpoint of a log, in its folder. */
export const CHECKPOINT_FILE = "checkpoint";
/** The newest one that witnesses have cosigned, with their lines; in the folder of a log that has witnesses. */
export const WITNESSED_FILE = "checkpoint.witnessed";

export class TlogWriter {
  readonly #folder: string;
  readonly #signer: NoteSigner;
  readonly #also: readonly NoteSigner[];
  readonly #disk: Disk;
  #frontier: Frontier = EMPTY;
  /** What the tiles hold beyond the checkpoint, durably. */
  #grown: Frontier = EMPTY;
  #filled: Tile[] = [];
  /** The checkpoint file has one change at a time. */
  #files: Promise<unknown> = Promise.resolve();

  private constructor(folder: string, signer: NoteSigner, also: readonly NoteSigner[], disk: Disk) {
    this.#folder = folder;
    this.#signer = signer;
    this.#also = also;
    this.#disk = disk;
  }

  /**
   * Opens the log of a folder, or begins one where there is none.
   * @param also who signs each checkpoint besides
   * @throws MeshError `conflict` when the right edge of the log does not hash to its checkpoint, or the checkpoint is
   *   missing or not this key's; MissingStorageKey when its entries are encrypted by another; the file system's errors.
   */
  static async open(
    folder: string,
    signer: NoteSigner,
    disk: Disk = DISK,
    keys: StorageKeys = NO_KEYS,
    also: readonly NoteSigner[] = [],
  ): Promise<TlogWriter> {
    const writer = new TlogWriter(folder, signer, also, sealedDisk(disk, folder, keys));
    const note = await disk.read(path.join(folder, CHECKPOINT_FILE));
    if (note === undefined) await writer.#begin();
    else await writer.#goOn(note);
    return writer;
  }

  /** Entries that the newest checkpoint covers. */
  get size(): number {
    return this.#frontier.size;
  }

  /** The last entries that the checkpoint covers: those of the last bundle, or one at least unless the log is empty. */
  async lastEntry(): Promise<Uint8Array | undefined> {
    const { size, bundle } = this.#frontier;
    if (bundle.length > 0 || size === 0) return bundle.at(-1);
    return (await this.#bundle(levelCount(1, size) - 1, TILE_WIDTH)).at(-1);
  }

  /** The tree that the newest checkpoint covers. */
  get covered(): TreeHead {
    return { size: this.#frontier.size, root: frontierRoot(this.#frontier) };
  }

  /** The tree with all that was grown, signed or not. */
  get head(): TreeHead {
    return { size: this.#grown.size, root: frontierRoot(this.#grown) };
  }

  /**
   * Makes entries durable in the tiles, behind the checkpoint. When it throws, they do not count.
   * @throws MeshError `payload_too_large` for an entry above 65,535 bytes; the file system's errors.
   */
  async grow(entries: readonly Uint8Array[]): Promise<void> {
    if (entries.length === 0) return;
    const { frontier, files, filled } = grow(this.#grown, entries);
    await replaceFiles(this.#disk, new Map([...files].map(([name, data]) => [this.#place(name), data])));
    this.#grown = frontier;
    this.#filled.push(...filled);
  }

  /** Signs the tree with all that was grown; durable when it returns. */
  async sign(): Promise<void> {
    if (this.#grown.size === this.#frontier.size) return;
    await this.#sign(this.#grown);
    this.#frontier = this.#grown;
    // The full tile stands for its partial forms (tlog-tiles, "Partial Tiles").
    for (const tile of this.#filled.splice(0)) await this.#disk.remove(this.#place(`${tilePath(tile)}.p`));
  }

  /** Forgets what was grown and not signed; what comes in its place is written over it. */
  reset(): void {
    this.#grown = this.#frontier;
    this.#filled = [];
  }

  /**
   * Appends entries and signs the tree with them; all is durable when it returns. When it throws, nothing counts as
   * appended and it may be called again.
   * @throws MeshError `payload_too_large` for an entry above 65,535 bytes; the file system's errors.
   */
  async append(entries: readonly Uint8Array[]): Promise<void> {
    try {
      await this.grow(entries);
      await this.sign();
    } catch (error) {
      this.reset();
      throw error;
    }
  }

  /** The newest checkpoint as it is in its file, cosignatures included. */
  async checkpoint(): Promise<Buffer> {
    return (await this.#disk.read(this.#place(CHECKPOINT_FILE))) ?? Buffer.alloc(0);
  }

  /**
   * Writes a checkpoint of this log with cosignatures down, beside the newest one and, if it is that, in its place.
   * @param text the checkpoint's, and `lines` all its signatures
   */
  async cosign(text: string, lines: readonly string[]): Promise<void> {
    const note = Buffer.from(`${text}\n${lines.join("")}`);
    await this.#inTurn(async () => {
      const files = new Map([[this.#place(WITNESSED_FILE), note]]);
      if ((await this.checkpoint()).toString().startsWith(`${text}\n`)) files.set(this.#place(CHECKPOINT_FILE), note);
      await replaceFiles(this.#disk, files);
    });
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#files.then(work);
    this.#files = done.catch(() => undefined);
    return done;
  }

  #place(name: string): string {
    return path.join(this.#folder, name);
  }

  async #begin(): Promise<void> {
    // A first checkpoint comes before the first tile, so tiles without one mean that it was taken away.
    if ((await this.#disk.list(path.join(this.#folder, "tile"))).length > 0)
      throw damaged(`${this.#folder} has tiles but no checkpoint; restore it`);
    await this.#sign(EMPTY);
  }

  async #goOn(note: Buffer): Promise<void> {
    const { size, root } = this.#read(note);
    const levels: Uint8Array[][] = [];
    for (let level = 0; levelCount(level, size) > 0; level++) {
      const index = levelCount(level + 1, size);
      const width = widthOf(level, index, size);
      const tile = width === 0 ? Buffer.alloc(0) : await this.#tile({ level, index, width });
      levels.push(Array.from({ length: width }, (_, i) => tile.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES)));
    }
    const partial = widthOf("entries", levelCount(1, size), size);
    const bundle = partial === 0 ? [] : (await this.#bundle(levelCount(1, size), partial)).slice(0, partial);
    const frontier: Frontier = { size, levels, bundle };
    const hashed = bundle.every((entry, i) => same(leafHash(entry), levels[0]?.[i] ?? Buffer.alloc(0)));
    if (!hashed || bundle.length !== partial || !same(frontierRoot(frontier), root))
      throw damaged(`the tiles in ${this.#folder} do not hash to its checkpoint; \`tiermesh audit verify\` says where`);
    this.#frontier = frontier;
    this.#grown = frontier;
  }

  #read(note: Buffer): Checkpoint {
    try {
      return openCheckpoint(note, parseVerifierKey(this.#signer.verifierKey));
    } catch (error) {
      throw damaged(`${path.join(this.#folder, CHECKPOINT_FILE)}: ${MeshError.from(error).message}`);
    }
  }

  /** A tile or bundle as the disk has it: the partial one, or the full one that took its place. */
  async #tile(tile: Tile): Promise<Buffer> {
    for (const width of [tile.width, TILE_WIDTH]) {
      const data = await this.#disk.read(path.join(this.#folder, tilePath({ ...tile, width })));
      if (data !== undefined) return data;
    }
    throw damaged(`${path.join(this.#folder, tilePath(tile))} is missing; restore it`);
  }

  async #bundle(index: number, width: number): Promise<Buffer[]> {
    return decodeBundle(await this.#tile({ level: "entries", index, width })) ?? [];
  }

  async #sign(frontier: Frontier): Promise<void> {
    const note = signCheckpoint({ size: frontier.size, root: frontierRoot(frontier) }, this.#signer, this.#also);
    const file = new Map([[this.#place(CHECKPOINT_FILE), Buffer.from(note)]]);
    await this.#inTurn(() => replaceFiles(this.#disk, file));
  }
}

function damaged(why: string): MeshError {
  return new MeshError("conflict", why);
}
