/** The keys that an auditor's log is encrypted with on the disk (ADR 0032). */
import { createHmac, createSecretKey, hkdfSync, randomBytes, type KeyObject } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { MeshError } from "../../bus-schemas/index.ts";
import { KEY_BYTES, Xaes } from "./xaes.ts";

/** Below the state folder, not the auditor's: a copy of the log is no copy of its key. */
export const STORAGE_KEY_FILE = "audit-storage-key";
const VARIABLES = { file: "TIERMESH_AUDIT_STORAGE_KEY_FILE", text: "TIERMESH_AUDIT_STORAGE_KEY" } as const;

/** What a sealed file begins with; a bundle of plain entries has a `{` in the third place. */
const MAGIC = Buffer.from("ffff544d5345414c", "hex");
const ID_BYTES = 4;
/** What of a file's beginning says by which key it is sealed, bytes. */
export const SEAL_HEAD_BYTES = MAGIC.length + ID_BYTES;
/** A token stands for a text that is only ever compared, bytes. */
const TOKEN_BYTES = 16;
/** Tokens that are remembered. */
const MOST_KNOWN = 4096;

/** Something is sealed by a key that is not here. */
export class MissingStorageKey extends MeshError {
  constructor(what: string, id: string) {
    const how = `name the file that holds it in ${VARIABLES.file} (or put it back as ${STORAGE_KEY_FILE} in the state folder)`;
    super("bad_config", `${what} is encrypted by storage key ${id}, which is not here: ${how}`);
  }
}

/** One key of 256 random bits. */
export class StorageKey {
  /** Eight hex digits, which say nothing of the key. */
  readonly id: string;
  readonly #xaes: Xaes;
  /** As an object, a quarter of the time for each token. */
  readonly #tokens: KeyObject;
  /** A job's events come one after the other. */
  readonly #known = new Map<string, Buffer>();

  constructor(key: Uint8Array) {
    const derived = (what: string, bytes: number) =>
      Buffer.from(hkdfSync("sha256", key, "", `tiermesh audit ${what}`, bytes));
    this.id = derived("storage key id", ID_BYTES).toString("hex");
    this.#tokens = createSecretKey(derived("index tokens", KEY_BYTES));
    this.#xaes = new Xaes(derived("storage", KEY_BYTES));
  }

  seal(text: Uint8Array, about: string): Buffer {
    return this.#xaes.seal(text, Buffer.from(about));
  }

  /** Undefined when it was changed, or is of another place. */
  open(sealed: Uint8Array, about: string): Buffer | undefined {
    return this.#xaes.open(sealed, Buffer.from(about));
  }

  /** Stands for a text: the same for the same text, and says nothing else of it. */
  token(text: string): Buffer {
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    const token = createHmac("sha256", this.#tokens).update(text).digest().subarray(0, TOKEN_BYTES);
    if (this.#known.size >= MOST_KNOWN) this.#known.clear();
    this.#known.set(text, token);
    return token;
  }
}

/** All keys that are here: the first is written with, all are read with. Empty: nothing is encrypted. */
export class StorageKeys {
  /** As they were given; handed to threads. */
  readonly texts: readonly string[];
  readonly #keys: readonly StorageKey[];

  /** @throws MeshError `bad_config` naming `where`; the keys are not quoted */
  constructor(texts: readonly string[] = [], where = "the storage keys") {
    this.texts = texts;
    this.#keys = texts.map((text, i) => new StorageKey(parseKey(text, `${where}: key ${i + 1}`)));
    const ids = this.ids;
    if (new Set(ids).size < ids.length) throw new MeshError("bad_config", `${where}: one key is there twice`);
  }

  /** What is written is sealed by this one. */
  get current(): StorageKey | undefined {
    return this.#keys[0];
  }

  get ids(): string[] {
    return this.#keys.map(({ id }) => id);
  }

  /** @throws MissingStorageKey naming `what` */
  get(id: string, what: string): StorageKey {
    const key = this.#keys.find((one) => one.id === id);
    if (key === undefined) throw new MissingStorageKey(what, id);
    return key;
  }

  /** A whole file; as it is when nothing is encrypted here. @param name its place in the log, which is bound to it */
  seal(data: Uint8Array, name: string): Uint8Array {
    const key = this.current;
    return key === undefined
      ? data
      : Buffer.concat([MAGIC, Buffer.from(key.id, "hex"), key.seal(data, aboutFile(name))]);
  }

  /**
   * What {@link seal} was given; a plain file as it is.
   * @returns undefined when it was changed, or belongs to another place
   * @throws MissingStorageKey
   */
  open(data: Buffer, name: string): Buffer | undefined {
    const id = sealedBy(data);
    return id === undefined ? data : this.get(id, name).open(data.subarray(SEAL_HEAD_BYTES), aboutFile(name));
  }
}

/** Of a log that is not encrypted, or whose keys are not needed. */
export const NO_KEYS = new StorageKeys();

/** By which key a file is sealed; undefined for a plain one. @param head its first bytes */
export function sealedBy(head: Buffer): string | undefined {
  const isSealed = head.length >= SEAL_HEAD_BYTES && head.subarray(0, MAGIC.length).equals(MAGIC);
  return isSealed ? head.toString("hex", MAGIC.length, SEAL_HEAD_BYTES) : undefined;
}

/** A new key, as text. */
export function newStorageKey(): string {
  return randomBytes(KEY_BYTES).toString("base64url");
}

/** Where the keys of this machine's log are kept in a file: as a variable names it, else in the state folder. */
export function storageKeyFile(env: Readonly<Record<string, string | undefined>>, stateDir: string): string {
  return env[VARIABLES.file] || path.join(stateDir, STORAGE_KEY_FILE);
}

/**
 * The keys for this machine's log: from the environment, from the file that it names, or from the one in the state folder.
 * @throws MeshError `bad_config` naming variable or file
 */
export function readStorageKeys(env: Readonly<Record<string, string | undefined>>, stateDir: string): StorageKeys {
  const { [VARIABLES.file]: named, [VARIABLES.text]: text } = env;
  if (text && named) throw new MeshError("bad_config", `${VARIABLES.text}: not together with ${VARIABLES.file}`);
  if (text) return new StorageKeys(text.split(/[\s,]+/).filter(Boolean), VARIABLES.text);
  const file = storageKeyFile(env, stateDir);
  if (existsSync(file)) return readKeyFile(file);
  if (named)
    throw new MeshError(
      "bad_config",
      `${VARIABLES.file}: ${file} is not there; put its copy back, or make one with \`tiermesh audit encrypt\``,
    );
  return NO_KEYS;
}

/** A file with one key a line, the one that is written with first. @throws MeshError `bad_config` */
export function readKeyFile(file: string): StorageKeys {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    throw new MeshError("bad_config", `${file}: cannot be read`, { cause });
  }
  const lines = text.split("\n").map((line) => line.trim());
  const keys = lines.filter((line) => line !== "" && !line.startsWith("#"));
  if (keys.length === 0) throw new MeshError("bad_config", `${file}: holds no storage key; put its copy back`);
  return new StorageKeys(keys, file);
}

function aboutFile(name: string): string {
  return `tiermesh audit file\n${name}`;
}

/** 32 bytes in base64, base64url or hex. */
function parseKey(text: string, where: string): Buffer {
  const isHex = /^[0-9a-fA-F]{64}$/.test(text);
  const key = Buffer.from(text, isHex ? "hex" : "base64");
  if (isHex || (/^[A-Za-z0-9+/_-]{43}=?$/.test(text) && key.length === KEY_BYTES)) return key;
  throw new MeshError("bad_config", `${where} is not 32 bytes in base64 or hex; put its copy back`);
}
