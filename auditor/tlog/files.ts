/** Durable files: what a caller is told is written is there after a power cut, whole or not at all. */
import { mkdir, open, readFile, readdir, rename, rm } from "node:fs/promises";
import path from "node:path";

/** What the log needs of a file system; tests put a failing one here. */
export interface Disk {
  /** Creates or empties a file and returns when its content is on the disk. */
  write(file: string, data: Uint8Array, mode: number): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** Makes the names in a folder durable. */
  syncFolder(folder: string): Promise<void>;
  /** Makes a folder and those above it; the first one that was not there yet, undefined when all were. */
  makeFolder(folder: string): Promise<string | undefined>;
  /** The names in a folder; none when it is not there. */
  list(folder: string): Promise<string[]>;
  /** Undefined when the file is not there. */
  read(file: string): Promise<Buffer | undefined>;
  /** Removes a file or folder if it is there. */
  remove(place: string): Promise<void>;
}

/** Of a file that is being written; what a crash leaves of it is never read. */
export const UNFINISHED = ".tmp";

export const DISK: Disk = {
  async write(file, data, mode) {
    await remove(file);
    const handle = await open(file, "wx", mode);
    try {
      await handle.writeFile(data);
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
  rename,
  async syncFolder(folder) {
    // Windows has no such call for folders, and needs none.
    if (process.platform === "win32") return;
    const handle = await open(folder, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
  makeFolder: (folder) => mkdir(folder, { recursive: true, mode: 0o700 }),
  list: (folder) => absentAs([], readdir(folder)),
  read: (file) => absentAs(undefined, readFile(file)),
  remove,
};

/** Writes files whole or not at all; all of them, names included, are durable when it returns. Mode 0600. */
export async function replaceFiles(disk: Disk, files: ReadonlyMap<string, Uint8Array>): Promise<void> {
  const folders = new Set<string>();
  for (const file of files.keys()) {
    const folder = path.dirname(file);
    if (!folders.has(folder)) for (const changed of await makeFolder(disk, folder)) folders.add(changed);
  }
  // All at once: a disk syncs several files in little more time than one.
  await all(Array.from(files, ([file, data]) => disk.write(`${file}${UNFINISHED}`, data, 0o600)));
  await all(Array.from(files.keys(), (file) => disk.rename(`${file}${UNFINISHED}`, file)));
  await all(Array.from(folders, (folder) => disk.syncFolder(folder)));
}

/** Waits for all, also when one fails: nothing may still be at work on the disk when the caller goes on. */
async function all(work: readonly Promise<void>[]): Promise<void> {
  const settled = await Promise.allSettled(work);
  for (const one of settled) if (one.status === "rejected") throw one.reason;
}

/** Makes a folder; those whose names in it have to be made durable, itself included. */
async function makeFolder(disk: Disk, folder: string): Promise<string[]> {
  const first = await disk.makeFolder(folder);
  const changed = [folder];
  if (first === undefined) return changed;
  for (let at = folder; at !== path.dirname(first); at = path.dirname(at)) changed.push(path.dirname(at));
  return changed;
}

async function remove(place: string): Promise<void> {
  await rm(place, { recursive: true, force: true });
}

async function absentAs<T>(absent: T, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return absent;
    throw error;
  }
}
