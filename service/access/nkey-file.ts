import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { createUser, fromSeed } from "@nats-io/nkeys";
import { MeshError, ownInbox } from "../../bus-schemas/index.ts";

/** A user of the bus by its key: the seed stays in its file, on its machine. */
export interface UserNkey {
  /** What the broker knows it by. */
  publicKey: string;
  /** Where its answers come. */
  inbox: string;
  /** Secret. */
  seed: Uint8Array;
}

/** A new key, in memory only. */
export function newUserNkey(): UserNkey {
  return toNkey(createUser().getSeed());
}

/** @throws MeshError `bad_config` when it is no seed of a NATS user; it is not quoted. */
export function userNkeyOf(seed: string | Uint8Array, origin: string): UserNkey {
  const bytes = typeof seed === "string" ? new TextEncoder().encode(seed.trim()) : seed;
  try {
    const nkey = toNkey(bytes);
    if (nkey.publicKey.startsWith("U")) return nkey;
  } catch {
    // Said below, without the seed.
  }
  throw new MeshError("bad_config", `${origin}: is not the seed of a NATS user's nkey (one line that begins with SU)`);
}

/** @throws MeshError `bad_config` naming the file. */
export function readNkeyFile(file: string): UserNkey {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code ?? "unknown reason";
    throw new MeshError("bad_config", `the key file ${file} cannot be read (${why})`, { cause: error });
  }
  return userNkeyOf(text, `the key file ${file}`);
}

/** Writes a new file, readable by its owner only. @throws when there is one, or the folder cannot be written */
export function writeNkeyFile(file: string, { seed }: UserNkey): void {
  writeFileSync(file, `${new TextDecoder().decode(seed)}\n`, { mode: 0o600, flag: "wx" });
}

/** The key of `file`, made now when there is no such file. @throws MeshError `bad_config` naming the file. */
export function keptNkey(file: string): UserNkey {
  try {
    const fresh = newUserNkey();
    writeNkeyFile(file, fresh);
    return fresh;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  chmodSync(file, 0o600);
  return readNkeyFile(file);
}

function toNkey(seed: Uint8Array): UserNkey {
  const publicKey = fromSeed(seed).getPublicKey();
  return { publicKey, inbox: ownInbox(publicKey), seed };
}
