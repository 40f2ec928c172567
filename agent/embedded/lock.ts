import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { randomUUID } from "node:crypto";

/** How often a waiter looks again, milliseconds. */
const POLL_MS = 200;

/**
 * Runs `work` while this process holds the lock file `path`, so that the agents of one machine fetch a big file once.
 * The lock of a process that died is taken over. It spares work and carries no correctness: whoever writes under it
 * must still publish by one atomic rename, because two processes can, in a rare race of takeovers, hold it together.
 */
export async function withLock<T>(path: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  while (!(await take(path))) {
    if (await holderIsGone(path)) await discard(path);
    else await sleep(POLL_MS, undefined, signal === undefined ? {} : { signal });
  }
  try {
    signal?.throwIfAborted();
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

async function take(path: string): Promise<boolean> {
  try {
    await writeFile(path, String(process.pid), { flag: "wx" });
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST" || codeOf(error) === "EPERM") return false;
    throw error;
  }
}

async function holderIsGone(path: string): Promise<boolean> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch {
    return false;
  }
  const pid = Number(text);
  // A file just created is empty for a moment: its holder is alive.
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  // Our own number in a file that we could not create: another part of this process holds it.
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return codeOf(error) === "ESRCH";
  }
}

/** Moved before it is deleted: a plain delete could hit the fresh lock of another who took over in between. */
async function discard(path: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
    await rm(aside, { force: true });
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
