/** Checks a log's folder from its bytes alone, as a stranger would: checkpoint, every entry, every tile. */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { MeshError } from "../../bus-schemas/index.ts";
import { MissingStorageKey, type StorageKeys } from "../at-rest/storage-keys.ts";
import { encodeBundle } from "./bundle.ts";
import { cosignersOf, openCheckpoint, type Checkpoint, type Cosigned } from "./checkpoint.ts";
import { UNFINISHED } from "./files.ts";
import { leafHash } from "./hash.ts";
import type { NoteVerifier } from "./keys.ts";
import { MINIMUM_INDEX_FILE, isPruned, readMinimumIndex } from "./minimum-index.ts";
import { BadTile, TileReader } from "./reader.ts";
import { TILE_WIDTH, levelCount, parseTilePath, tilePath, widthOf, type Tile } from "./tiles.ts";
import { perfectRoot, rootOf, same } from "./tree.ts";
import { CHECKPOINT_FILE, WITNESSED_FILE } from "./writer.ts";

/** Something that is wrong with a log. */
export interface Problem {
  /** File below the log's folder. */
  file: string;
  what: string;
}

export interface Verified {
  /** Null when it cannot be trusted; then nothing else was checked against it. */
  checkpoint: Checkpoint | null;
  problems: Problem[];
  /** Index of the first entry that is there; the ones before were pruned. */
  minimum: number;
  /** What each witness that was named says, and to which checkpoint: the newest, or the newest that was cosigned. */
  witnessed: Witnessed | null;
  /** Files of tiles beyond the checkpoint: a writer at work, or one that crashed, leaves them. Not checked. */
  uncovered: number;
}

export interface Witnessed {
  /** Entries of the checkpoint. */
  size: number;
  witnesses: Cosigned[];
}

export interface VerifyOptions {
  /** Up to where an entry says that entries were pruned, if it says so: a log must say it before it lacks some. */
  prunedUpTo?: (entry: Uint8Array) => number | undefined;
  /** Keys of witnesses whose cosignatures are counted. */
  witnesses?: readonly NoteVerifier[];
  /** Of a log that is encrypted. */
  keys?: StorageKeys | undefined;
  /** Checkpoints of this log that were kept elsewhere: each must be of a beginning of the log. */
  kept?: readonly Uint8Array[];
}

/**
 * Never throws for what a log's files hold.
 * @throws MeshError `bad_request` when the folder cannot be read at all; MissingStorageKey when it is encrypted and no key was given
 */
export function verifyLog(folder: string, key: NoteVerifier, options: VerifyOptions = {}): Verified {
  const problems: Problem[] = [];
  const checkpoint = attempt(problems, CHECKPOINT_FILE, () => openCheckpoint(readCheckpoint(folder), key));
  if (checkpoint === undefined) return { checkpoint: null, problems, minimum: 0, uncovered: 0, witnessed: null };
  const { size, root } = checkpoint;
  const reader = new TileReader(folder, size, options.keys);
  const minimum = checkMinimum(folder, size, problems);
  const pruned = checkEntries(reader, { minimum, size }, problems, options.prunedUpTo ?? (() => minimum));
  if (pruned < minimum)
    problems.push({
      file: MINIMUM_INDEX_FILE,
      what: `no entry of the log says that those before ${minimum} were pruned`,
    });
  checkLevels(reader, { minimum, size }, problems);
  attempt(problems, CHECKPOINT_FILE, () => {
    if (!same(rootOf(size, reader.subtrees), root))
      problems.push({ file: CHECKPOINT_FILE, what: "its root is not that of the tiles" });
  });
  for (const note of options.kept ?? []) checkKept(note, key, reader, { minimum, size }, problems);
  const witnessed = checkWitnessed(
    folder,
    key,
    reader,
    { minimum, size, witnesses: options.witnesses ?? [] },
    problems,
  );
  const uncovered = checkOthers(folder, reader, { minimum, size }, problems);
  const different = new Map(problems.map((problem) => [`${problem.file} ${problem.what}`, problem]));
  return { checkpoint, minimum, problems: [...different.values()], uncovered, witnessed };
}

/** The newest checkpoint of a log, as it was written. @throws MeshError `bad_request` when it is not there. */
export function readCheckpoint(folder: string): Buffer {
  try {
    return readFileSync(path.join(folder, CHECKPOINT_FILE));
  } catch (cause) {
    throw new MeshError("bad_request", "missing or not readable", { cause });
  }
}

/** What a log lacks, and how long it is. */
interface Extent {
  minimum: number;
  size: number;
}

function checkMinimum(folder: string, size: number, problems: Problem[]): number {
  const minimum = attempt(problems, MINIMUM_INDEX_FILE, () => readMinimumIndex(folder)) ?? 0;
  if (minimum <= size) return minimum;
  problems.push({ file: MINIMUM_INDEX_FILE, what: `is ${minimum}, and the log has only ${size} entries` });
  return 0;
}

/** @returns up to where the entries say that entries were pruned */
function checkEntries(
  reader: TileReader,
  { minimum, size }: Extent,
  problems: Problem[],
  prunedUpTo: (entry: Uint8Array) => number | undefined,
): number {
  let pruned = 0;
  for (let index = minimum / TILE_WIDTH; widthOf("entries", index, size) > 0; index++) {
    attempt(problems, fileOf("entries", index, size), () => {
      const entries = reader.bundle(index);
      const hashes = reader.tile(0, index);
      entries.forEach((entry, i) => {
        pruned = Math.max(pruned, prunedUpTo(entry) ?? 0);
        if (same(leafHash(entry), hashes[i] ?? entry)) return;
        const at = index * TILE_WIDTH + i;
        problems.push({ file: fileOf("entries", index, size), what: `entry ${at} is not the one that the tree has` });
      });
    });
  }
  return pruned;
}

/** Each hash above level 0 is the root of a full tile below. */
function checkLevels(reader: TileReader, { minimum, size }: Extent, problems: Problem[]): void {
  for (let level = 1; levelCount(level, size) > 0; level++) {
    for (let below = 0; below < levelCount(level, size); below++) {
      if (isPruned({ level: level - 1, index: below }, minimum)) continue;
      attempt(problems, fileOf(level - 1, below, size), () => {
        const hash = reader.tile(level, Math.floor(below / TILE_WIDTH))[below % TILE_WIDTH];
        if (hash !== undefined && same(perfectRoot(reader.tile(level - 1, below)), hash)) return;
        problems.push({ file: fileOf(level - 1, below, size), what: "does not hash to its place in the tile above" });
      });
    }
  }
}

/** The cosignatures of the newest checkpoint, or if they are fewer, of the one that the log keeps beside it for them. */
function checkWitnessed(
  folder: string,
  key: NoteVerifier,
  reader: TileReader,
  { witnesses, ...extent }: Extent & { witnesses: readonly NoteVerifier[] },
  problems: Problem[],
): Witnessed | null {
  if (witnesses.length === 0) return null;
  const found: Witnessed[] = [];
  for (const file of [CHECKPOINT_FILE, WITNESSED_FILE]) {
    if (!existsSync(path.join(folder, file))) continue;
    const note = readFileSync(path.join(folder, file));
    attempt(problems, file, () => {
      const { size: of } = openCheckpoint(note, key);
      // Of a log that has dropped all that was cosigned, it says nothing any more.
      if (of <= extent.minimum && of > 0) return;
      const cosigners = cosignersOf(note, witnesses);
      for (const { state, witness } of cosigners)
        if (state === "wrong") problems.push({ file, what: `the cosignature of ${witness} is wrong` });
      found.push({ size: of, witnesses: cosigners });
      checkKept(note, key, reader, extent, problems, file);
    });
  }
  const most = found.toSorted((a, b) => countOf(b) - countOf(a) || b.size - a.size);
  return most[0] ?? null;
}

/** How many witnesses have cosigned. */
export function countOf({ witnesses }: Witnessed): number {
  return witnesses.filter(({ state }) => state === "cosigned").length;
}

function checkKept(
  note: Uint8Array,
  key: NoteVerifier,
  reader: TileReader,
  { minimum, size }: Extent,
  problems: Problem[],
  file = "kept checkpoint",
): void {
  attempt(problems, file, () => {
    const old = openCheckpoint(note, key);
    if (old.size > 0 && old.size <= minimum)
      problems.push({ file, what: `is of the first ${old.size} entries, which were pruned since: keep a newer one` });
    else if (old.size > size) problems.push({ file, what: `is of ${old.size} entries, the log has only ${size}` });
    else if (!same(rootOf(old.size, reader.subtrees), old.root))
      problems.push({ file, what: `the first ${old.size} entries are not those that it was signed for` });
  });
}

/** Files that the checks above did not read: partial tiles of earlier checkpoints, and what does not belong here. */
function checkOthers(folder: string, reader: TileReader, { minimum, size }: Extent, problems: Problem[]): number {
  let uncovered = 0;
  for (const file of filesBelow(folder, "tile")) {
    if (file.endsWith(UNFINISHED)) continue;
    const tile = parseTilePath(file);
    if (tile === undefined) {
      problems.push({ file, what: "is no file of a log" });
      continue;
    }
    const { level, index, width } = tile;
    // What may be gone and is still there is no finding, and what it hangs from may be gone.
    if (isPruned(tile, minimum)) continue;
    if (widthOf(level, index, size) < width) uncovered++;
    else
      attempt(problems, file, () => {
        const whole =
          level === "entries"
            ? encodeBundle(reader.bundle(index).slice(0, width))
            : Buffer.concat(reader.tile(level, index).slice(0, width));
        if (!same(whole, reader.content(file) ?? whole))
          problems.push({ file, what: "is not the beginning of the tile that the checkpoint covers" });
      });
  }
  return uncovered;
}

/** Files below a folder of the log, as paths with `/` from the log's folder. */
function filesBelow(folder: string, name: string): string[] {
  try {
    return readdirSync(path.join(folder, name), { recursive: true, withFileTypes: true })
      .filter((found) => !found.isDirectory())
      .map((found) => path.relative(folder, path.join(found.parentPath, found.name)).replaceAll(path.sep, "/"));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw new MeshError("bad_request", `${folder}: cannot be read`, { cause });
  }
}

function fileOf(level: Tile["level"], index: number, size: number): string {
  return tilePath({ level, index, width: widthOf(level, index, size) });
}

/**
 * What `work` returns, or undefined with what is wrong noted: under the tile's own file, or under `file`.
 * @throws MissingStorageKey: without a key nothing can be said of the log
 */
function attempt<T>(problems: Problem[], file: string, work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof MissingStorageKey) throw error;
    if (error instanceof BadTile) problems.push({ file: error.file, what: error.why });
    else problems.push({ file, what: MeshError.from(error, "internal", "cannot be read").message });
    return undefined;
  }
}
