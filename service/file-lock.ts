import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { pause } from "./loop.ts";
import { isAlive, startToken } from "./process-info.ts";

/** Who holds a lock. `token` tells a process from a later one with the same id. */
export interface LockHolder {
  pid: number;
  token: string;
}

export interface FileLock {
  /** Gives the lock back; safe to call twice. */
  release(): Promise<void>;
}

/** A takeover takes milliseconds; a marker older than this was left by a crash in the middle of one. */
const TAKEOVER_LIMIT_MS = 10_000;

/** Time between two looks at a lock that someone else holds, milliseconds. */
const LOOK_EVERY_MS = 200;

/**
 * Takes the lock file, or says who holds it. A lock whose process is gone (or whose id now belongs to another
 * process) is taken over. Within one process a second attempt also finds it held.
 */
export async function tryLock(file: string, signal?: AbortSignal): Promise<FileLock | { heldBy: LockHolder }> {
  await mkdir(path.dirname(file), { recursive: true });
  const me: LockHolder = { pid: process.pid, token: (await startToken(process.pid)) ?? "" };
  for (;;) {
    signal?.throwIfAborted();
    if (await createExclusive(file, JSON.stringify(me))) return lockOf(file);
    const holder = await readHolder(file);
    if (holder === "gone") continue;
    if (holder !== "unreadable" && (await isHolding(holder))) return { heldBy: holder };
    await removeStale(file, signal);
  }
}

/** Takes the lock, waiting while another live process holds it. `onWait` is called once if it has to. */
export async function waitForLock(
  file: string,
  onWait: (holder: LockHolder) => void,
  signal?: AbortSignal,
): Promise<FileLock> {
  let told = false;
  for (;;) {
    const result = await tryLock(file, signal);
    if (!("heldBy" in result)) return result;
    if (!told) onWait(result.heldBy);
    told = true;
    await pause(LOOK_EVERY_MS, signal);
  }
}

/** Runs `work` while this process holds the lock file, so that the processes of a machine fetch a big file once. */
export async function withLock<T>(file: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  const lock = await waitForLock(file, () => undefined, signal);
  try {
    return await work();
  } finally {
    await lock.release();
  }
}

function lockOf(file: string): FileLock {
  let released = false;
  return {
    release: async () => {
      if (released) return;
      released = true;
      await rm(file, { force: true });
    },
  };
}

/** Removes a lock that nobody holds. Only one process at a time may judge and remove, or a fresh lock could be hit. */
async function removeStale(file: string, signal?: AbortSignal): Promise<void> {
  const marker = `${file}.takeover`;
  if (!(await createExclusive(marker, ""))) {
    const age = await stat(marker).then(
      (info) => Date.now() - info.mtimeMs,
      () => 0,
    );
    if (age > TAKEOVER_LIMIT_MS) await rm(marker, { force: true });
    await pause(LOOK_EVERY_MS / 10, signal);
    return;
  }
  try {
    const holder = await readHolder(file);
    if (holder === "gone") return;
    if (holder === "unreadable" || !(await isHolding(holder))) await rm(file, { force: true });
  } finally {
    await rm(marker, { force: true });
  }
}

async function isHolding(holder: LockHolder): Promise<boolean> {
  if (!isAlive(holder.pid)) return false;
  const token = await startToken(holder.pid);
  // A system that does not tell start times gives no token; then a live process with this id must count as the holder.
  return token === undefined || holder.token === "" || token === holder.token;
}

/** The holder; "unreadable" for a file that has stayed empty or broken, as a full disk or a power cut leaves it. */
async function readHolder(file: string): Promise<LockHolder | "gone" | "unreadable"> {
  for (let attempt = 0; attempt < 10; attempt++) {
    let text: string;
    try {
      text = await readFile(file, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return "gone";
      throw error;
    }
    try {
      const { pid, token } = JSON.parse(text) as Partial<LockHolder>;
      if (Number.isSafeInteger(pid) && typeof token === "string") return { pid: pid ?? 0, token };
    } catch {
      // Between creating and writing, another process's new lock is empty for a moment: look again.
    }
    await pause(LOOK_EVERY_MS / 10);
  }
  return "unreadable";
}

async function createExclusive(file: string, text: string): Promise<boolean> {
  try {
    await writeFile(file, text, { flag: "wx", mode: 0o600 });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}
