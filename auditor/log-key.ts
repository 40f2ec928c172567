import path from "node:path";
import { MeshError } from "../bus-schemas/index.ts";
import { DISK, replaceFiles } from "./tlog/files.ts";
import { generatePrivateKey, parsePrivateKey, type NoteSigner } from "./tlog/keys.ts";
import { CHECKPOINT_FILE } from "./tlog/writer.ts";

/** Folder of the signed log below the auditor's: all that a stranger needs, and nothing that he must not have. */
export const TLOG_FOLDER = "tlog";
/** The log's private key below the auditor's folder, readable by its owner only. */
const KEY_FILE = "log-key";
/** The key's public half, as strangers are given it. */
export const VERIFIER_KEY_FILE = "log-key.pub";

/** Behind a key file's name: the second key, and its public half. */
const SECOND = "-mldsa";

export interface LogKeyOptions {
  /** Where the private key is; `log-key` in the auditor's folder if not said. */
  file?: string | undefined;
  /** Whether it is made when there is none; a second auditor is given the first one's. Default: true. */
  make?: boolean;
  /** Whether checkpoints are signed by ML-DSA-44, too. Default: false. */
  mldsa?: boolean;
}

/**
 * The key that signs the log of an auditor's folder; made at the first start. `mesh` goes into its name, `mesh.main`.
 * @throws MeshError `bad_config` when the key is malformed, or gone although it has signed; the file system's errors.
 */
export async function openLogKey(
  folder: string,
  mesh: string,
  { file = path.join(folder, KEY_FILE), make = true }: LogKeyOptions = {},
): Promise<NoteSigner> {
  const known = (await DISK.read(file))?.toString();
  if (known === undefined && (await DISK.read(path.join(folder, TLOG_FOLDER, CHECKPOINT_FILE))) !== undefined)
    throw new MeshError("bad_config", `${file} is gone, but it has signed the log; restore it`);
  if (known === undefined && !make)
    throw new MeshError("bad_config", `${file} is not there: a second auditor signs with the first one's log-key`);
  const text = known ?? `${generatePrivateKey((unique) => `tiermesh.internal/${mesh}/${unique}`)}\n`;
  const signer = named(file, text);
  if (known === undefined) await replaceFiles(DISK, new Map([[file, Buffer.from(text)]]));
  await publish(path.join(folder, VERIFIER_KEY_FILE), signer);
  return signer;
}

/**
 * The second key of a log, which signs its checkpoints by ML-DSA-44 as a cosigner of the log's own name
 * (c2sp.org/tlog-cosignature); beside the first one, and made at the first start with it.
 * @throws MeshError `bad_config` when the key is malformed, or not there and must not be made; the file system's errors.
 */
export async function openSecondKey(
  folder: string,
  origin: string,
  { file = path.join(folder, KEY_FILE), make = true }: LogKeyOptions = {},
): Promise<NoteSigner> {
  const place = `${file}${SECOND}`;
  const known = (await DISK.read(place))?.toString();
  if (known === undefined && !make)
    throw new MeshError("bad_config", `${place} is not there: a second auditor signs with the first one's keys`);
  const text = known ?? `${generatePrivateKey(() => origin, "cosignature", "ml-dsa-44")}\n`;
  const signer = named(place, text);
  if (signer.kind !== "cosignature") throw new MeshError("bad_config", `${place}: is no key of ML-DSA-44`);
  if (known === undefined) await replaceFiles(DISK, new Map([[place, Buffer.from(text)]]));
  await publish(path.join(folder, `${KEY_FILE}${SECOND}.pub`), signer);
  return signer;
}

async function publish(file: string, signer: NoteSigner): Promise<void> {
  const verifierKey = `${signer.verifierKey}\n`;
  if ((await DISK.read(file))?.toString() !== verifierKey)
    await replaceFiles(DISK, new Map([[file, Buffer.from(verifierKey)]]));
}

function named(file: string, text: string): NoteSigner {
  try {
    return parsePrivateKey(text);
  } catch (error) {
    throw new MeshError("bad_config", `${file}: ${MeshError.from(error).message}`);
  }
}
