/**
 * Keys of signed notes (c2sp.org/signed-note) in the text forms of golang.org/x/mod/sumdb/note: a verifier key
 * `name+hash+base64(type || public key)` and a private key `PRIVATE+KEY+name+hash+base64(type || seed)`. Pure but for chance.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify, type KeyObject } from "node:crypto";
import { MeshError } from "../../bus-schemas/index.ts";
import { decodeBase64 } from "./base64.ts";
import { TIME_BYTES, cosignatureTimeS, cosigned, timeBytes } from "./cosignature.ts";
import { sha256 } from "./hash.ts";

/** `signature`: of the text as it is. `cosignature`: of a checkpoint and a time, by a witness (c2sp.org/tlog-cosignature). */
type KeyKind = "signature" | "cosignature";

/** What checks signatures by one key. Name and key id together say which key. */
export interface NoteVerifier {
  name: string;
  /** uint32. */
  keyId: number;
  kind: KeyKind;
  verify(text: Uint8Array, signature: Uint8Array): boolean;
}

/** What signs by one key. */
export interface NoteSigner {
  name: string;
  keyId: number;
  kind: KeyKind;
  sign(text: Uint8Array): Buffer;
  /** The key's public half, as text. */
  verifierKey: string;
}

/** One way to sign, by its identifier byte. ML-DSA-44 cosignatures (c2sp.org/tlog-cosignature) would be one more. */
interface SignatureType {
  kind: KeyKind;
  verify(key: KeyObject, text: Uint8Array, signature: Uint8Array): boolean;
  sign(key: KeyObject, text: Uint8Array, timeS: () => number): Buffer;
}

const ED25519 = 0x01;
const ED25519_COSIGNATURE = 0x04;
/** Length of an Ed25519 public key and of a private key's seed, bytes (RFC 8032). */
const ED25519_BYTES = 32;
/** What stands before a 32-byte public key in SPKI, and before a seed in PKCS #8 (RFC 8410, sections 4 and 7). */
const SPKI_HEAD = Buffer.from("302a300506032b6570032100", "hex");
const PKCS8_HEAD = Buffer.from("302e020100300506032b657004220420", "hex");

const TYPES: ReadonlyMap<number, SignatureType> = new Map<number, SignatureType>([
  [
    ED25519,
    {
      kind: "signature",
      verify: (key, text, signature) => verify(null, text, key, signature),
      sign: (key, text) => sign(null, text, key),
    },
  ],
  [
    ED25519_COSIGNATURE,
    {
      kind: "cosignature",
      verify: (key, text, signature) => {
        const seconds = cosignatureTimeS(signature);
        return seconds !== undefined && verify(null, cosigned(text, seconds), key, signature.subarray(TIME_BYTES));
      },
      sign: (key, text, timeS) => {
        const seconds = Math.floor(timeS());
        return Buffer.concat([timeBytes(seconds), sign(null, cosigned(text, seconds), key)]);
      },
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
  if (data.length !== 1 + ED25519_BYTES || keyIdOf(name, data) !== keyId)
    throw bad("a verifier key whose hash is not that of its key: a character was changed or lost");
  const key = createPublicKey({ key: Buffer.concat([SPKI_HEAD, data.subarray(1)]), format: "der", type: "spki" });
  return { name, keyId, kind: type.kind, verify: (bytes, signature) => type.verify(key, bytes, signature) };
}

/**
 * @param timeS what a cosignature says that the time is, seconds since 1970
 * @throws MeshError `bad_config` when it is no private Ed25519 key; the message never holds any of it.
 */
export function parsePrivateKey(text: string, timeS = () => Date.now() / 1000): NoteSigner {
  const { name, keyId, data } = split(PRIVATE_KEY, text, "a private key of a log or a witness");
  const type = TYPES.get(data[0] ?? -1);
  if (type === undefined || data.length !== 1 + ED25519_BYTES) throw bad("a private key that is not of Ed25519");
  const key = createPrivateKey({ key: Buffer.concat([PKCS8_HEAD, data.subarray(1)]), format: "der", type: "pkcs8" });
  const encoded = Buffer.concat([data.subarray(0, 1), rawPublicKey(createPublicKey(key))]);
  if (keyIdOf(name, encoded) !== keyId) throw bad("a private key whose hash is not that of its key");
  const verifierKey = `${name}+${hex(keyId)}+${encoded.toString("base64")}`;
  return { name, keyId, kind: type.kind, sign: (bytes) => type.sign(key, bytes, timeS), verifierKey };
}

/**
 * A new Ed25519 private key, as text; of a log, or of a witness (`cosignature`). `nameOf` is given eight hex digits of the
 * public key's hash, to make names unique by.
 */
export function generatePrivateKey(nameOf: (unique: string) => string, kind: KeyKind = "signature"): string {
  const type = Buffer.of(kind === "signature" ? ED25519 : ED25519_COSIGNATURE);
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const encoded = Buffer.concat([type, rawPublicKey(publicKey)]);
  const name = nameOf(sha256(encoded).toString("hex", 0, 4));
  const seed = privateKey.export({ format: "der", type: "pkcs8" }).subarray(PKCS8_HEAD.length);
  const data = Buffer.concat([type, seed]).toString("base64");
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
