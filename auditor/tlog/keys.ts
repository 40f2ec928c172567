/**
 * Keys of signed notes (c2sp.org/signed-note) in the text forms of golang.org/x/mod/sumdb/note: a verifier key
 * `name+hash+base64(type || public key)` and a private key `PRIVATE+KEY+name+hash+base64(type || seed)`. Pure but for chance.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { MeshError } from "../../bus-schemas/index.ts";
import { decodeBase64 } from "./base64.ts";
import { sha256 } from "./hash.ts";
import { SEED_BYTES, SIGNATURE_TYPES, typeOf, type KeyKind, type SignatureType } from "./signature-types.ts";

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

const VERIFIER_KEY = /^([^\s+]+)\+([0-9a-f]{8})\+(\S+)$/;
const PRIVATE_KEY = /^PRIVATE\+KEY\+([^\s+]+)\+([0-9a-f]{8})\+(\S+)$/;

/** @throws MeshError `bad_config` when it is no verifier key, or of a type that is not known here. */
export function parseVerifierKey(text: string): NoteVerifier {
  const { name, keyId, data } = split(VERIFIER_KEY, text, "a verifier key (name+hash+base64)");
  const type = typeIn(data);
  if (data.length !== 1 + type.algorithm.publicBytes || keyIdOf(name, data) !== keyId)
    throw bad("a verifier key whose hash is not that of its key: a character was changed or lost");
  const der = Buffer.concat([type.algorithm.spkiHead, data.subarray(1)]);
  const key = createPublicKey({ key: der, format: "der", type: "spki" });
  return { name, keyId, kind: type.kind, verify: (bytes, signature) => type.verify(key, name, bytes, signature) };
}

/**
 * @param timeS what a cosignature says that the time is, seconds since 1970
 * @throws MeshError `bad_config` when it is no private key of a known type; the message never holds any of it.
 */
export function parsePrivateKey(text: string, timeS = () => Date.now() / 1000): NoteSigner {
  const { name, keyId, data } = split(PRIVATE_KEY, text, "a private key of a log or a witness");
  const type = typeIn(data);
  if (data.length !== 1 + SEED_BYTES) throw bad("a private key that has not the length of one");
  const der = Buffer.concat([type.algorithm.pkcs8Head, data.subarray(1)]);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const encoded = Buffer.concat([data.subarray(0, 1), rawPublicKey(createPublicKey(key), type)]);
  if (keyIdOf(name, encoded) !== keyId) throw bad("a private key whose hash is not that of its key");
  const verifierKey = `${name}+${hex(keyId)}+${encoded.toString("base64")}`;
  return { name, keyId, kind: type.kind, sign: (bytes) => type.sign(key, name, bytes, timeS), verifierKey };
}

/**
 * A new private key, as text; of a log, or of a witness (`cosignature`). `nameOf` is given eight hex digits of the
 * public key's hash, to make names unique by.
 */
export function generatePrivateKey(
  nameOf: (unique: string) => string,
  kind: KeyKind = "signature",
  algorithm: "ed25519" | "ml-dsa-44" = "ed25519",
): string {
  const id = typeOf(kind, algorithm);
  const type = typeIn(Buffer.of(id));
  const { publicKey, privateKey } = generatePair(algorithm);
  const encoded = Buffer.concat([Buffer.of(id), rawPublicKey(publicKey, type)]);
  const name = nameOf(sha256(encoded).toString("hex", 0, 4));
  const data = Buffer.concat([Buffer.of(id), seedOf(privateKey, type)]).toString("base64");
  return `PRIVATE+KEY+${name}+${hex(keyIdOf(name, encoded))}+${data}`;
}

function generatePair(algorithm: "ed25519" | "ml-dsa-44") {
  return algorithm === "ed25519" ? generateKeyPairSync("ed25519") : generateKeyPairSync("ml-dsa-44");
}

function typeIn(data: Buffer): SignatureType {
  const type = SIGNATURE_TYPES.get(data[0] ?? -1);
  if (type === undefined) throw bad(`a key of signature type ${data[0] ?? "none"}, which is not known here`);
  return type;
}

/** SHA-256(name || 0x0A || type || public key)[:4], big-endian. */
function keyIdOf(name: string, encoded: Uint8Array): number {
  return sha256(Buffer.concat([Buffer.from(`${name}\n`), encoded])).readUInt32BE(0);
}

function rawPublicKey(key: KeyObject, { algorithm }: SignatureType): Buffer {
  return key.export({ format: "der", type: "spki" }).subarray(algorithm.spkiHead.length);
}

/** Of ML-DSA-44 the PKCS #8 has more than the seed; its JWK (`kty` AKP) has the seed as `priv`. */
function seedOf(key: KeyObject, { algorithm }: SignatureType): Buffer {
  if (algorithm.name === "ed25519")
    return key.export({ format: "der", type: "pkcs8" }).subarray(algorithm.pkcs8Head.length);
  return Buffer.from(String((key.export({ format: "jwk" }) as { priv?: unknown }).priv), "base64url");
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
