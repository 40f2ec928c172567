/**
 * Brings what lies in an auditor's folder under the newest storage key: what was plain when encryption began, and what an older
 * key has sealed. File by file, each whole or not at all; so it can be stopped at any step, and goes on from what it finds.
 */
import { open, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import path from "node:path";
import { MeshError } from "../../bus-schemas/index.ts";
import { isAlive } from "../../service/process-info.ts";
import { TLOG_FOLDER } from "../log-key.ts";
import { readSegmentHeader } from "../segment-reader.ts";
import { segmentNumber } from "../segment.ts";
import { DISK, UNFINISHED } from "../tlog/files.ts";
import { TILE_WIDTH, parseTilePath } from "../tlog/tiles.ts";
import { resealSegment } from "./reseal-segment.ts";
import { ENTRIES_FOLDER } from "./sealed-disk.ts";
import { SEAL_HEAD_BYTES, sealedBy, type StorageKeys } from "./storage-keys.ts";

/** Files that are sealed again in one step beside the writer. */
const AT_ONCE = 32;
/** A segment's damaged end that recovery has set aside. */
export const DAMAGED = /^segment-\d{6,}\.jsonl\.damaged-/;

/** Files with entries, by the storage key that they are encrypted with; `plain` for none. */
export type SealCount = Record<string, number>;

/** A file with entries, and by which key it is sealed. */
export interface SealedFile {
  file: string;
  /** What is bound to the content of a file that is sealed as a whole; undefined for a segment. */
  name: string | undefined;
  key: string | undefined;
}

/** Every file of an auditor's folder that holds entries, but the search index, which is made anew. @throws the file system's errors */
export async function* filesWithEntries(folder: string): AsyncGenerator<SealedFile, void, undefined> {
  for (const name of (await DISK.list(folder)).toSorted()) {
    const file = path.join(folder, name);
    if (segmentNumber(name) !== undefined)
      yield { file, name: undefined, key: (await readSegmentHeader(file).catch(absent))?.sealed_by };
    else if (DAMAGED.test(name))
      yield { file, name, key: sealedBy((await headOf(file).catch(absent)) ?? Buffer.alloc(0)) };
  }
  const tlog = path.join(folder, TLOG_FOLDER);
  for (const file of await filesBelow(path.join(tlog, ENTRIES_FOLDER))) {
    const name = nameOf(tlog, file);
    // One that was just replaced or pruned is passed over.
    const head = parseTilePath(name) === undefined ? undefined : await headOf(file).catch(absent);
    if (head !== undefined) yield { file, name, key: sealedBy(head) };
  }
}

/** How many files are sealed by which key. @throws the file system's errors */
export async function countSeals(folder: string): Promise<SealCount> {
  const count: SealCount = {};
  for await (const { key = "plain" } of filesWithEntries(folder)) count[key] = (count[key] ?? 0) + 1;
  return count;
}

/**
 * Seals one file by the newest key; the time of its content, by which it is pruned, stays.
 * @throws MissingStorageKey; MeshError `conflict` for a damaged one; the file system's errors
 */
export async function reseal({ file, name }: SealedFile, keys: StorageKeys): Promise<void> {
  if (name === undefined) return resealSegment(file, keys);
  const data = await DISK.read(file);
  // A partial bundle that became full meanwhile, or was pruned.
  if (data === undefined) return;
  const opened = keys.open(data, name);
  if (opened === undefined) throw new MeshError("conflict", `${file} was changed: it cannot be decrypted; restore it`);
  const { atime, mtime } = await stat(file);
  const unfinished = `${file}${UNFINISHED}`;
  await DISK.write(unfinished, keys.seal(opened, name), 0o600);
  await utimes(unfinished, atime, mtime);
  await rename(unfinished, file);
}

/**
 * What has to be done before somebody writes: what crashes left half written is removed, since it may be plain, and the partial
 * bundles, which the writer replaces as it goes, are sealed by the newest key. @throws as {@link reseal}
 */
export async function prepareFolder(folder: string, keys: StorageKeys): Promise<void> {
  if (keys.current === undefined) return;
  const tlog = path.join(folder, TLOG_FOLDER);
  const left = (await DISK.list(folder)).filter((name) => isLeft(name)).map((name) => path.join(folder, name));
  for (const file of left) await rm(file, { force: true });
  for (const file of await filesBelow(path.join(tlog, ENTRIES_FOLDER))) {
    const name = nameOf(tlog, file);
    if (file.endsWith(UNFINISHED)) await rm(file, { force: true });
    else if (isPartial(name)) {
      const key = sealedBy(await headOf(file));
      if (key !== keys.current.id) await reseal({ file, name, key }, keys);
    }
  }
}

/** Goes over a folder beside its writer, a few files at a time. */
export class Resealer {
  readonly #keys: StorageKeys;
  readonly #files: AsyncGenerator<SealedFile, void, undefined>;
  /** Found, and not sealed yet. */
  #next: SealedFile | undefined;
  #sealed = 0;
  #failed: string[] = [];
  #isDone: boolean;

  /** @param folder the auditor's; its newest segments and partial bundles are sealed already */
  constructor(folder: string, keys: StorageKeys) {
    this.#keys = keys;
    this.#files = filesWithEntries(folder);
    this.#isDone = keys.current === undefined;
  }

  get state() {
    const { current } = this.#keys;
    const state = current === undefined ? "off" : this.#isDone ? "done" : "working";
    return { key: current?.id ?? null, state, sealed_again: this.#sealed, failed: this.#failed };
  }

  /** Seals the next files again. @returns what could not be, which is left as it is; @throws the file system's errors */
  async step(): Promise<{ file: string; error: unknown }[]> {
    const failed: { file: string; error: unknown }[] = [];
    for (let count = 0; !this.#isDone && count < AT_ONCE;) {
      this.#next ??= await this.#outdated();
      if (this.#next === undefined) {
        this.#isDone = true;
        break;
      }
      count++;
      try {
        await reseal(this.#next, this.#keys);
        this.#sealed++;
      } catch (error) {
        // What the disk did not take is tried again with the next step, unless it was pruned meanwhile.
        if (!(error instanceof MeshError) && (error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
        if (error instanceof MeshError) {
          failed.push({ file: this.#next.file, error });
          this.#failed.push(path.basename(this.#next.file));
        }
      }
      this.#next = undefined;
    }
    return failed;
  }

  /** The next file that is not sealed by the newest key; undefined when there is none. */
  async #outdated(): Promise<SealedFile | undefined> {
    for (;;) {
      const { done, value } = await this.#files.next();
      if (done === true) return undefined;
      if (value.key !== this.#keys.current?.id && !isPartial(value.name)) return value;
    }
  }
}

/** A file of the signed log, as its format names it. */
function nameOf(tlog: string, file: string): string {
  return path.relative(tlog, file).replaceAll(path.sep, "/");
}

function isPartial(name = ""): boolean {
  const width = parseTilePath(name)?.width ?? TILE_WIDTH;
  return width < TILE_WIDTH;
}

/** A file that somebody was writing when it crashed. */
function isLeft(name: string): boolean {
  if (/^segment-\d{6,}\.jsonl\.tmp$/.test(name)) return true;
  // A new search index, named by the process that makes it.
  const pid = /^search\.db\.(\d+)\.tmp(?:-journal)?$/.exec(name)?.[1];
  return pid !== undefined && !isAlive(Number(pid));
}

async function headOf(file: string): Promise<Buffer> {
  const handle = await open(file, "r");
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(SEAL_HEAD_BYTES), 0, SEAL_HEAD_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

async function filesBelow(folder: string): Promise<string[]> {
  try {
    const found = await readdir(folder, { recursive: true, withFileTypes: true });
    return found.filter((one) => one.isFile()).map((one) => path.join(one.parentPath, one.name));
  } catch (error) {
    return absent(error) ?? [];
  }
}

function absent(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
}
