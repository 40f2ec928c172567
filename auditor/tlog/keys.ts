/**
 * Keys of signed notes (c2sp.org/signed-note) in the text forms of golang.org/x/mod/sumdb/note: a verifier key
 * `name+hash+base64(type || public key)` and a private key `PRIVATE+KEY+name+hash+base64(type || seed)`. Pure but for chance.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify, type KeyObject } from "node:crypto";
import { MeshError } from "../../bus-schemas/index.ts";
import { decodeBase64 } from "./base64.ts";
import { sha256 } from "./hash.ts";

/** What checks signatures by one key. Name and key id together say which key. */
export interface NoteVerifier {
  name: string;
  /** uint32. */
  keyId: number;
  verify(text: Uint8Array, signature: Uint8Array): boolean;
}

/** What signs by one key. */
export interface NoteSigner {
  name: string;
  keyId: number;
  sign(text: Uint8Array): Buffer;
  /** The key's public half, as text. */
  verifierKey: string;
}

/** One way to sign, by its identifier byte. ML-DSA-44 cosignatures (c2sp.org/tlog-cosignature) will be a second entry. */
interface SignatureType {
  /** Length of an encoded public key, bytes. */
  publicKeyBytes: number;
  publicKey(encoded: Buffer): KeyObject;
}

const ED25519 = 0x01;
/** Length of an Ed25519 public key and of a private key's seed, bytes (RFC 8032). */
const ED25519_BYTES = 32;
/** What stands before a 32-byte public key in SPKI, and before a seed in PKCS #8 (RFC 8410, sections 4 and 7). */
const SPKI_HEAD = Buffer.from("302a300506032b6570032100", "hex");
const PKCS8_HEAD = Buffer.from("302e020100300506032b657004220420", "hex");

const TYPES: ReadonlyMap<number, SignatureType> = new Map([
  [
    ED25519,
    {
      publicKeyBytes: ED25519_BYTES,
      publicKey: (encoded) =>
        createPublicKey({ key: Buffer.concat([SPKI_HEAD, encoded]), format: "der", type: "spki" }),
    },
  ],
]);

const VERIFIER_KEY = /^([^\s+]+)\+([0-9a-f]{8})\+(\S+)$/;
const PRIVATE_KEY = /^PRIVATE\+KEY\+([^\s+]+)\+([0-9a-f]{8})\+(\S+)$/;

/** @throws MeshError `bad_config` when it is no verifier key, or of a type that is not known here. */
export function parseVerifierKey(text: string): NoteVerifier {
  const { name, keyId, data } = split(VERIFIER_KEY, text, "a verifier key (name+hash+base64)");
  const type = TYPES.get(data[0] ?? -1);
  if (type === undefined) throw bad(`a key of signature type ${data[0] ?? "none"}, which is not known here`);
  if (data.length !== 1 + type.publicKeyBytes || keyIdOf(name, data) !== keyId)
    throw bad("a verifier key whose hash is not that of its key: a character was changed or lost");
  const key = type.publicKey(data.subarray(1));
  return { name, keyId, verify: (bytes, signature) => verify(null, bytes, key, signature) };
}

/** @throws MeshError `bad_config` when it is no private Ed25519 key; the message never holds any of it. */
export function parsePrivateKey(text: string): NoteSigner {
  const { name, keyId, data } = split(PRIVATE_KEY, text, "a private key of a log");
  if (data[0] !== ED25519 || data.length !== 1 + ED25519_BYTES) throw bad("a private key that is not of Ed25519");
  const key = createPrivateKey({ key: Buffer.concat([PKCS8_HEAD, data.subarray(1)]), format: "der", type: "pkcs8" });
  const encoded = Buffer.concat([Buffer.of(ED25519), rawPublicKey(createPublicKey(key))]);
  if (keyIdOf(name, encoded) !== keyId) throw bad("a private key whose hash is not that of its key");
  const verifierKey = `${name}+${hex(keyId)}+${encoded.toString("base64")}`;
  return { name, keyId, sign: (bytes) => sign(null, bytes, key), verifierKey };
}

/** A new Ed25519 private key, as text. `nameOf` is given eight hex digits of the public key's hash, to make names unique by. */
export function generatePrivateKey(nameOf: (unique: string) => string): string {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const encoded = Buffer.concat([Buffer.of(ED25519), rawPublicKey(publicKey)]);
  const name = nameOf(sha256(encoded).toString("hex", 0, 4));
  const seed = privateKey.export({ format: "der", type: "pkcs8" }).subarray(PKCS8_HEAD.length);
  const data = Buffer.concat([Buffer.of(ED25519), seed]).toString("base64");
  return `PRIVATE+KEY+${name}+${hex(keyIdOf(name, encoded))}+${data}`;
}

/** SHA-256(name || 0x0A || type || public key)[:4], big-endian. */
function keyIdOf(name: string, encoded: Uint8Array): number {
  return sha256(Buffer.concat([Buffer.from(`${name}\n`), encoded])).readUInt32BE(0);
}

function rawPublicKey(key: KeyObject): Buffer {
  return key.export({ format: "der", type: "spki" }).subarray(SPKI_HEAD.length);
}

function split(pattern: RegExp, text: string, what: string): { name: string; keyId: number; data: Buffer } {
  const [, name = "", id = "", base64 = ""] = pattern.exec(text.trim()) ?? [];
  const data = decodeBase64(base64);
  if (name === "" || data === undefined) throw bad(`not ${what}`);
  return { name, keyId: Number.parseInt(id, 16), data };
}

function hex(keyId: number): string {
  return keyId.toString(16).padStart(8, "0");
}

function bad(why: string): MeshError {
  return new MeshError("bad_config", why);
}
