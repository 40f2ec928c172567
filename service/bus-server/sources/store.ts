import { chmod, copyFile, mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import path from "node:path";
import { compareVersions, readServerVersion, VERSION_FLOOR } from "../server-version.ts";
import type { FoundServer, NoServer } from "./source.ts";

/** File name of the server on this platform. */
export const BINARY_NAME = process.platform === "win32" ? "nats-server.exe" : "nats-server";

/** `<cacheDir>/nats-server`, where each version has a folder. */
export function storeDir(cacheDir: string): string {
  return path.join(cacheDir, "nats-server");
}

/** A binary as a found server, or why it is not one: it cannot be run, or is older than the floor. */
export async function checkBinary(binary: string, signal?: AbortSignal): Promise<FoundServer | NoServer> {
  const version = await readServerVersion(binary, signal);
  if (version === undefined) return { none: `${binary} does not run here as a nats-server`, notable: true };
  if (compareVersions(version, VERSION_FLOOR) < 0) {
    return { none: `${binary} is version ${version}, older than ${VERSION_FLOOR}, and is skipped`, notable: true };
  }
  return { path: binary, version };
}

/** Runs `work` with an empty folder beside the store (same file system, so that renames are atomic), then removes it. */
export async function withScratch<T>(cacheDir: string, work: (folder: string) => Promise<T>): Promise<T> {
  await mkdir(storeDir(cacheDir), { recursive: true });
  const folder = await mkdtemp(path.join(storeDir(cacheDir), ".new-"));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

/**
 * Puts a fetched binary into the cache: checked first, then moved there in one step, so that nobody ever sees half a
 * file. `binary` should lie in a scratch folder.
 */
export async function keepBinary(
  cacheDir: string,
  binary: string,
  signal?: AbortSignal,
): Promise<FoundServer | NoServer> {
  await chmod(binary, 0o755);
  const checked = await checkBinary(binary, signal);
  if ("none" in checked) return checked;
  const folder = path.join(storeDir(cacheDir), checked.version);
  const target = path.join(folder, BINARY_NAME);
  await mkdir(folder, { recursive: true });
  const beside = path.join(folder, `.${BINARY_NAME}.${process.pid}`);
  await copyFile(binary, beside);
  await rename(beside, target);
  return { path: target, version: checked.version };
}
