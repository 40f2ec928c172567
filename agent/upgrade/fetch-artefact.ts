import { constants } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat, statfs, type FileHandle } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { MeshError, RELEASE_CHUNK_BYTES, WireError, parseOrThrow, type ReleaseFile } from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import { pause } from "../../service/loop.ts";
import { header } from "../../service/messages.ts";
import { fileDigest } from "../../service/release-signature.ts";
import { UpgradeError } from "./upgrade-error.ts";

/** The keeper answers within this time, milliseconds: it reads a quarter of a mebibyte. */
const ANSWER_LIMIT_MS = 5000;
/** A bus that is away, or busy, is asked again for this long, milliseconds. */
const PATIENCE_MS = 120_000;
const RETRY_AFTER_MS = 500;
/** What is left free beside it, bytes. */
const SPARE_BYTES = 64 * 1024 ** 2;

const Refusal = z.object({ error: WireError });

export interface Fetching {
  bus: Pick<Bus, "nc" | "subjects">;
  nodeId: string;
  /** The agent's own folder for it; other files there are left over from other releases, and go. */
  folder: string;
  /** How long a bus that does not answer is waited for, milliseconds. */
  patienceMs?: number;
}

/**
 * Brings a release's file here, piece by piece; what an earlier try has brought is not asked for again.
 * @returns its path: the bytes there have the SHA-256 that was asked for
 * @throws UpgradeError `no_space`, `release_missing`, `bad_artefact`; MeshError `bus_unavailable` when the bus stays away
 */
export async function fetchArtefact(
  { bus, folder, nodeId, patienceMs = PATIENCE_MS }: Fetching,
  file: Pick<ReleaseFile, "sha256" | "bytes">,
  onProgress: (doneBytes: number) => void,
  signal: AbortSignal,
): Promise<string> {
  const target = path.join(folder, file.sha256);
  const part = `${target}.part`;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await sweep(folder, file.sha256);
  if (await isWhole(target, file)) return target;
  const have = await sizeOf(part);
  await checkSpace(folder, file.bytes - Math.min(have, file.bytes));
  try {
    const handle = await open(part, constants.O_RDWR | constants.O_CREAT, 0o600);
    try {
      // A piece that was not written whole is asked for again.
      const first = have > file.bytes ? 0 : Math.floor(have / RELEASE_CHUNK_BYTES);
      for (let chunk = first; chunk * RELEASE_CHUNK_BYTES < file.bytes; chunk++) {
        signal.throwIfAborted();
        const at = chunk * RELEASE_CHUNK_BYTES;
        const wanted = Math.min(RELEASE_CHUNK_BYTES, file.bytes - at);
        onProgress(at);
        await writeAll(
          handle,
          await patiently(() => ask(bus, nodeId, file.sha256, chunk, wanted), patienceMs, signal),
          at,
        );
      }
      await handle.truncate(file.bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOSPC" || code === "EDQUOT")
      throw new UpgradeError("no_space", "no space is left for the release in the agent's state folder", cause);
    throw cause;
  }
  onProgress(file.bytes);
  if (!(await isWhole(part, file))) {
    await rm(part, { force: true });
    throw new UpgradeError(
      "bad_artefact",
      "what the bus holds is not the program that was signed: its SHA-256 differs",
    );
  }
  await rename(part, target);
  return target;
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.length;)
    done += (await handle.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
}

/** @throws MeshError what the keeper says; `bad_artefact` for a piece of another length */
async function ask(
  { nc, subjects }: Fetching["bus"],
  nodeId: string,
  sha256: string,
  chunk: number,
  wanted: number,
): Promise<Uint8Array> {
  const reply = await nc
    .request(subjects.releaseGet(nodeId), JSON.stringify({ sha256, chunk }), { timeout: ANSWER_LIMIT_MS })
    .catch((cause: unknown) => {
      throw new MeshError("bus_unavailable", "nobody beside the bus hands out releases now", { cause });
    });
  if (header(reply, "Content-Type") === "application/octet-stream") {
    if (reply.data.length === wanted) return reply.data;
    throw new UpgradeError("bad_artefact", "a piece of the release on the bus has another length than it should");
  }
  const { error } = parseOrThrow(Refusal, reply.json(), "bus_unavailable");
  if (error.code === "not_found") throw new UpgradeError("release_missing", error.message);
  throw MeshError.fromWire(error);
}

/** Tries again what may succeed later. */
async function patiently<T>(work: () => Promise<T>, patienceMs: number, signal: AbortSignal): Promise<T> {
  const endMs = performance.now() + patienceMs;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof MeshError) || !error.retryable || performance.now() > endMs) throw error;
      await pause(error.retryAfterMs ?? RETRY_AFTER_MS, signal);
      signal.throwIfAborted();
    }
  }
}

async function isWhole(target: string, { bytes, sha256 }: Pick<ReleaseFile, "sha256" | "bytes">): Promise<boolean> {
  return (await sizeOf(target)) === bytes && (await fileDigest(target)) === sha256;
}

async function sizeOf(file: string): Promise<number> {
  return stat(file).then(
    ({ size }) => size,
    () => 0,
  );
}

async function checkSpace(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize >= bytes + SPARE_BYTES) return;
  const mb = (count: number) => Math.ceil(count / 1e6);
  throw new UpgradeError(
    "no_space",
    `${mb(bytes + SPARE_BYTES)} MB are needed in the agent's state folder and ${mb(bavail * bsize)} MB are free`,
  );
}

async function sweep(folder: string, keep: string): Promise<void> {
  for (const name of await readdir(folder))
    if (/^[0-9a-f]{64}(\.part)?$/.test(name) && !name.startsWith(keep))
      await rm(path.join(folder, name), { force: true });
}
