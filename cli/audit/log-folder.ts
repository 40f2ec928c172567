import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { readStorageKeys, type StorageKeys } from "../../auditor/at-rest/storage-keys.ts";
import { TLOG_FOLDER, VERIFIER_KEY_FILE } from "../../auditor/log-key.ts";
import { parseVerifierKey, type NoteVerifier } from "../../auditor/tlog/keys.ts";
import { CHECKPOINT_FILE } from "../../auditor/tlog/writer.ts";
import { MeshError } from "../../bus-schemas/index.ts";
import { stateDir } from "../../service/paths.ts";
import { note } from "../format/terminal.ts";

/** Where a log lies and the key it is checked by. */
export interface LogPlace {
  folder: string;
  key: NoteVerifier;
  /** The storage keys of this machine, for a log that is encrypted. */
  keys: StorageKeys;
}

/**
 * The signed log of a folder: an auditor's, a copy of its `tlog`, or without one that of this machine's auditor.
 * @throws MeshError `bad_request` when there is none, `bad_config` when its key cannot be used.
 */
export function logPlace(folder: string | undefined, keyFile: string | undefined): LogPlace {
  const given = folder ?? process.env["TIERMESH_AUDIT_DIR"] ?? path.join(stateDir(), "audit");
  const within = path.join(given, TLOG_FOLDER);
  const log = existsSync(within) ? within : given;
  // A log whose checkpoint was taken away is still a log, and a finding.
  if (!existsSync(path.join(log, CHECKPOINT_FILE)) && !existsSync(path.join(log, "tile")))
    throw new MeshError("bad_request", `${given}: holds no signed log; name the auditor's folder with --offline`);
  return { folder: log, key: keyFor(log, keyFile), keys: storageKeys() };
}

/** This machine's storage keys. @throws MeshError `bad_config` naming the variable or file */
export function storageKeys(): StorageKeys {
  return readStorageKeys(process.env, stateDir());
}

/** @param log where to look for a key that was not named: beside the log, which proves less. */
export function keyFor(log: string | undefined, keyFile: string | undefined): NoteVerifier {
  if (keyFile !== undefined) return readKey(keyFile);
  const beside = log === undefined ? [] : [log, path.dirname(log)].map((one) => path.join(one, VERIFIER_KEY_FILE));
  const file = beside.find((one) => existsSync(one));
  if (file === undefined)
    throw new MeshError("bad_config", `name the log's verifier key with --key (the auditor's ${VERIFIER_KEY_FILE})`);
  note(`checked by ${file}, which lies beside the log: whoever changes one can change both. --key names your own copy`);
  return readKey(file);
}

/** @throws MeshError `bad_request` when it cannot be read. */
export function readGiven(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new MeshError("bad_request", `${file}: cannot be read`, { cause });
  }
}

/** @throws MeshError `bad_request` when it cannot be written. */
export function writeGiven(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch (cause) {
    throw new MeshError("bad_request", `${file}: cannot be written`, { cause });
  }
}

/** @throws MeshError `bad_request` when it cannot be read, `bad_config` when it is no verifier key. */
export function readKey(file: string): NoteVerifier {
  try {
    return parseVerifierKey(readGiven(file).toString());
  } catch (error) {
    const { code, message } = MeshError.from(error);
    throw code === "bad_config" ? new MeshError(code, `${file}: ${message}`) : error;
  }
}
