import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { MeshError } from "../../bus-schemas/index.ts";

/** The key that a server encrypts its streams with, and the one before it while there is a change. */
export interface StorageKey {
  key: string;
  /** What was stored by it is read, and kept by `key` from then on. */
  former?: string | undefined;
}

const keyFile = (folder: string) => path.join(folder, "storage-key");
const formerFile = (folder: string) => path.join(folder, "storage-key.former");

/**
 * The key of a bus's folder (mode 0600), made if there is none: 256 random bits. Without it nobody reads what the server has stored.
 * @throws MeshError `bad_config` naming a file that holds no key; its content is not quoted
 */
export function keptStorageKey(folder: string): StorageKey {
  if (!existsSync(keyFile(folder)) && !existsSync(formerFile(folder))) writeKey(folder);
  // A change that was cut off between its two steps.
  if (!existsSync(keyFile(folder))) renameSync(formerFile(folder), keyFile(folder));
  const former = existsSync(formerFile(folder)) ? readKey(formerFile(folder)) : undefined;
  return { key: readKey(keyFile(folder)), former };
}

/**
 * Makes a new key for the next start of the server; the former is kept until that has read what is there.
 * @throws MeshError `bad_config` while an earlier change is not over
 */
export function changeStorageKey(folder: string): void {
  keptStorageKey(folder);
  if (existsSync(formerFile(folder)))
    throw new MeshError(
      "bad_config",
      "the key was changed already and the server has not been started since; start it first",
    );
  renameSync(keyFile(folder), formerFile(folder));
  writeKey(folder);
}

/** The server runs with the new key and has read everything. */
export function forgetFormerKey(folder: string): void {
  rmSync(formerFile(folder), { force: true });
}

function writeKey(folder: string): void {
  writeFileSync(keyFile(folder), `${randomBytes(32).toString("base64url")}\n`, { mode: 0o600, flag: "wx" });
}

function readKey(file: string): string {
  const key = readFileSync(file, "utf8").trim();
  if (/^[A-Za-z0-9_-]{43}$/.test(key)) return key;
  throw new MeshError(
    "bad_config",
    `${file} does not hold a storage key; put its copy back: what is stored can be read by no other`,
  );
}
