import { constants } from "node:fs";
import { chmod, chown, copyFile, link, mkdir, open, readFile, rename, rm, rmdir, stat } from "node:fs/promises";
import path from "node:path";
import { fileDigest } from "../../service/release-signature.ts";
import type { Step, Undo } from "./steps.ts";

interface FileStep {
  /** For people. */
  name: string;
  /** Where it lies on this system. */
  file: string;
  mode: number;
}

/** A text file with this content and these rights. It is written beside and renamed, so that nobody ever reads half of it. */
export function textFile({ name, file, mode, text }: FileStep & { text: string }): Step {
  return {
    name: `${name} ${file}`,
    async take() {
      const before = await there(file);
      if (before !== undefined && before.mode === mode && (await readFile(file, "utf8")) === text) return undefined;
      const content = before === undefined ? undefined : await readFile(file);
      const folder = await madeFolder(path.dirname(file), 0o755);
      const write = (bytes: string | Buffer, rights: number) => replace(file, rights, (to) => writeSynced(to, bytes));
      await orUndo(() => write(text, mode), folder.undo);
      return async () => {
        if (before === undefined || content === undefined) await rm(file, { force: true });
        else await write(content, before.mode);
        await folder.undo();
      };
    },
  };
}

/** A copy of a program, whole or not at all; `keep` is where the one that it replaces stays until the undo is forgotten. */
export function programFile({ name, file, mode, from }: FileStep & { from: string }): Step {
  return {
    name: `${name} ${file}`,
    async take() {
      const before = await there(file);
      const same = before !== undefined && before.mode === mode && (await sameContent(file, from));
      if (same) return undefined;
      const folder = await madeFolder(path.dirname(file), 0o755);
      const kept = `${file}.undo`;
      await orUndo(
        () => replace(file, mode, (to) => copySynced(from, to), before === undefined ? undefined : kept),
        folder.undo,
      );
      return async () => {
        if (before === undefined) await rm(file, { force: true });
        else await rename(kept, file);
        await folder.undo();
      };
    },
  };
}

/** What {@link programFile} keeps for its undo is no longer needed. On Windows it may run still; then it goes the next time. */
export async function forgetUndo(file: string): Promise<void> {
  await rm(`${file}.undo`, { force: true }).catch(() => undefined);
}

/** A folder of its own owner and rights. One that is there keeps its content, and gets them. */
export function folder(
  name: string,
  dir: string,
  mode: number,
  ownerOf: () => Promise<{ uid: number; gid: number } | undefined> = async () => undefined,
): Step {
  return {
    name: `${name} ${dir}`,
    async take() {
      const [before, owner] = await Promise.all([there(dir), ownerOf()]);
      const owned = owner === undefined || (before?.uid === owner.uid && before.gid === owner.gid);
      if (before !== undefined && before.mode === mode && owned) return undefined;
      const made = await madeFolder(dir, mode);
      const undo = async () => {
        if (before === undefined) {
          await rm(dir, { recursive: true, force: true });
          return made.undo();
        }
        await chown(dir, before.uid, before.gid);
        await chmod(dir, before.mode);
      };
      return orUndo(async () => {
        await chmod(dir, mode);
        if (owner !== undefined) await chown(dir, owner.uid, owner.gid);
        return undo;
      }, undo);
    },
  };
}

/** Copies a file and brings it to the disk: an upgrade that a power cut meets must not leave half a program. */
export async function copySynced(from: string, to: string): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_FICLONE);
  const handle = await open(to, "r+");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function writeSynced(to: string, bytes: string | Buffer): Promise<void> {
  const handle = await open(to, "w", 0o600);
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** @param kept where the replaced file stays, if it is to */
async function replace(file: string, mode: number, write: (to: string) => Promise<void>, kept?: string): Promise<void> {
  const fresh = `${file}.new`;
  // Whatever an earlier try left, a link to somewhere else included.
  await rm(fresh, { force: true });
  try {
    await write(fresh);
    await chmod(fresh, mode);
    if (kept !== undefined) await keepFormer(file, kept);
    await rename(fresh, file);
  } catch (error) {
    await rm(fresh, { force: true });
    throw error;
  }
}

/** Windows does not let a running program be replaced, but be renamed; elsewhere there is always a file of that name. */
async function keepFormer(file: string, kept: string): Promise<void> {
  await rm(kept, { force: true });
  if (process.platform === "win32") await rename(file, kept);
  else await link(file, kept);
}

/** Makes a folder and those above it; the undo removes those that it made, as far as they are empty. */
async function madeFolder(dir: string, mode: number): Promise<{ undo: () => Promise<void> }> {
  const first = await mkdir(dir, { recursive: true, mode });
  return {
    undo: async () => {
      if (first === undefined) return;
      for (let each = dir; each.length >= first.length; each = path.dirname(each))
        await rmdir(each).catch(() => undefined);
    },
  };
}

async function orUndo<T>(work: () => Promise<T>, undo: Undo): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await undo();
    throw error;
  }
}

async function sameContent(one: string, other: string): Promise<boolean> {
  const [{ size: oneSize }, { size: otherSize }] = await Promise.all([stat(one), stat(other)]);
  if (oneSize !== otherSize) return false;
  const [oneDigest, otherDigest] = await Promise.all([fileDigest(one), fileDigest(other)]);
  return oneDigest === otherDigest;
}

async function there(file: string): Promise<{ mode: number; uid: number; gid: number } | undefined> {
  try {
    const { mode, uid, gid } = await stat(file);
    return { mode: mode & 0o7777, uid, gid };
  } catch {
    return undefined;
  }
}
