import { existsSync, rmSync } from "node:fs";
import path from "node:path";
import { Resealer, countSeals, prepareFolder, type SealCount } from "../../auditor/at-rest/reseal.ts";
import { newStorageKey, readKeyFile, storageKeyFile, type StorageKeys } from "../../auditor/at-rest/storage-keys.ts";
import { INDEX_FILE, isIndexOf } from "../../auditor/search/search-index.ts";
import { SegmentLog } from "../../auditor/segment-log.ts";
import { DISK, replaceFiles } from "../../auditor/tlog/files.ts";
import { MeshError } from "../../bus-schemas/index.ts";
import { tryLock } from "../../service/file-lock.ts";
import { stateDir } from "../../service/paths.ts";
import { EXIT } from "../command.ts";
import { print, printJson } from "../format/terminal.ts";
import { storageKeys } from "./log-folder.ts";

export interface EncryptFlags {
  newKey?: boolean;
  forgetOld?: boolean;
  status?: boolean;
  offline?: string;
  json?: boolean;
}

/** What was done to a folder, and how it is now. */
interface Outcome {
  folder: string;
  /** An auditor is writing there: it encrypts by itself when it is started anew. */
  running: boolean;
  /** Files with entries, by key. */
  files: SealCount;
}

/** Makes, changes or forgets storage keys, and encrypts this machine's log where nobody is writing it. */
export async function encrypt(flags: EncryptFlags): Promise<void> {
  const folders = foldersOf(flags.offline);
  if (flags.status === true) return report(await Promise.all(folders.map(look)), storageKeys(), undefined, flags);
  const file = ownKeyFile();
  if (flags.forgetOld === true) await forgetOld(file, folders);
  else if (!existsSync(file)) await writeKeys(file, [newStorageKey()]);
  else if (flags.newKey === true) await writeKeys(file, [newStorageKey(), ...readKeyFile(file).texts]);
  const keys = storageKeys();
  const done: Outcome[] = [];
  for (const folder of folders) done.push(await sealFolder(folder, keys));
  report(done, keys, file, flags);
}

/** This machine's auditor's folder, and its standby's where both run here. */
function foldersOf(offline: string | undefined): string[] {
  const first = offline ?? process.env["TIERMESH_AUDIT_DIR"] ?? path.join(stateDir(), "audit");
  const second = `${first}-2`;
  return [first, ...(offline === undefined && existsSync(second) ? [second] : [])];
}

/** @throws MeshError `bad_config` when the keys are not in a file that this command can write */
function ownKeyFile(): string {
  if (process.env["TIERMESH_AUDIT_STORAGE_KEY"])
    throw new MeshError(
      "bad_config",
      "the storage keys are in TIERMESH_AUDIT_STORAGE_KEY: put a new one (32 random bytes in base64) in front of them there",
    );
  return storageKeyFile(process.env, stateDir());
}

function writeKeys(file: string, keys: readonly string[]): Promise<void> {
  return replaceFiles(DISK, new Map([[file, Buffer.from(`${keys.join("\n")}\n`)]]));
}

/** @throws MeshError `conflict` while a file of a log is sealed by another key than the newest */
async function forgetOld(file: string, folders: readonly string[]): Promise<void> {
  const { current, texts } = readKeyFile(file);
  for (const folder of folders) {
    const { files } = await look(folder);
    const others = Object.keys(files).filter((key) => key !== current?.id);
    if (others.length > 0)
      throw new MeshError(
        "conflict",
        `${folder}: ${others.map((key) => `${files[key] ?? 0} files are ${key === "plain" ? "plain" : `sealed by ${key}`}`).join(", ")}; start the auditor and wait until its health says "done"`,
      );
  }
  await writeKeys(file, texts.slice(0, 1));
}

async function look(folder: string): Promise<Outcome> {
  if (!existsSync(folder)) return { folder, running: false, files: {} };
  const lock = await tryLock(path.join(folder, "lock"));
  if ("release" in lock) await lock.release();
  return { folder, running: "heldBy" in lock, files: await countSeals(folder) };
}

/** Seals all that is there, unless an auditor is writing. */
async function sealFolder(folder: string, keys: StorageKeys): Promise<Outcome> {
  if (!existsSync(folder)) return look(folder);
  const lock = await tryLock(path.join(folder, "lock"));
  if ("heldBy" in lock) return { folder, running: true, files: await countSeals(folder) };
  try {
    const segments = await SegmentLog.open(folder, { keys });
    await segments.close();
    await prepareFolder(folder, keys);
    const resealer = new Resealer(folder, keys);
    while (resealer.state.state === "working") {
      const [failed] = await resealer.step();
      if (failed !== undefined) throw failed.error;
    }
    const index = path.join(folder, INDEX_FILE);
    // It is made anew by the auditor.
    if (existsSync(index) && !isIndexOf(index, keys))
      for (const part of [index, `${index}-journal`]) rmSync(part, { force: true });
    return { folder, running: false, files: await countSeals(folder) };
  } finally {
    await lock.release();
  }
}

function report(
  folders: Outcome[],
  keys: StorageKeys,
  keyFile: string | undefined,
  { json, status }: EncryptFlags,
): void {
  const key = keys.current?.id ?? null;
  const others = ({ files }: Outcome) => Object.keys(files).some((id) => id !== key);
  if (status === true && key !== null && folders.some(others)) process.exitCode = EXIT.failed;
  if (json === true) return printJson({ key, key_file: keyFile ?? null, older_keys: keys.ids.slice(1), folders });
  if (keyFile !== undefined)
    print(`key            ${key ?? ""} in ${keyFile}; keep a copy elsewhere: nothing else reads the log`);
  else print(`key            ${key ?? "none: new entries are written in clear"}`);
  if (keys.ids.length > 1) print(`older keys     ${keys.ids.slice(1).join(", ")}: only read with`);
  for (const one of folders) {
    const { folder, running, files } = one;
    const counts = Object.entries(files).map(([id, count]) => `${count} ${id === "plain" ? "in clear" : `by ${id}`}`);
    print(`${folder}: ${counts.length === 0 ? "no log yet" : `files with entries: ${counts.join(", ")}`}`);
    if (running && others(one))
      print("  an auditor is writing it: start it anew, it encrypts the rest by itself (`encryption` in its health)");
  }
}
