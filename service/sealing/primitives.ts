import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  diffieHellman,
  generateKeyPairSync,
  hash,
  KeyObject,
  subtle,
} from "node:crypto";
import { I2OSP, LabeledExpand, LabeledExtract, concat, encode, type AEAD, type KDF, type KEM, type Key } from "hpke";

/**
 * HPKE's primitives by node:crypto, through the library's interfaces for that. Its own go through WebCrypto, which hops to
 * a thread for each of about twenty hashes: sealing and opening take 1.9 ms by it and a quarter of that here. The RFC's
 * vectors and the library's own suite check them (hpke.test.ts).
 */

/** An X25519 key. */
export interface X25519Key extends Key {
  readonly object: KeyObject;
  /** Public half, 32 bytes. */
  readonly raw: Uint8Array;
}

const ALGORITHM = { name: "X25519" };

function publicKeyOf(object: KeyObject, raw: Uint8Array): X25519Key {
  return { algorithm: ALGORITHM, type: "public", extractable: true, object, raw };
}

/**
 * By WebCrypto, which reads 32 bytes at once here: `createPublicKey` first tries whether it was given a key object, and the
 * error that tells it no, with its stack, costs several times the reading.
 * @throws Error when it is no X25519 key
 */
async function readPublicKey(raw: Uint8Array): Promise<X25519Key> {
  return publicKeyOf(KeyObject.from(await subtle.importKey("raw", new Uint8Array(raw), ALGORITHM, true, [])), raw);
}

export function x25519Pair(privateKey: KeyObject, own: KeyObject): { privateKey: X25519Key; publicKey: X25519Key } {
  // As JWK: its SubjectPublicKeyInfo takes node:crypto ten times as long to write.
  const raw = new Uint8Array(Buffer.from(own.export({ format: "jwk" }).x ?? "", "base64url"));
  return {
    privateKey: { algorithm: ALGORITHM, type: "private", extractable: false, object: privateKey, raw },
    publicKey: publicKeyOf(own, raw),
  };
}

/** HKDF-SHA256 (RFC 5869). */
export const hkdfSha256 = (): KDF => ({
  id: 0x0001,
  type: "KDF",
  name: "HKDF-SHA256",
  Nh: 32,
  stages: 2,
  Extract: async (salt, ikm) => bytes(hmacSha256(salt, ikm)),
  Expand: async (prk, info, length) => {
    const blocks: Buffer[] = [];
    for (let have = 0; have < length; have += 32) {
      const before = blocks.at(-1) ?? Buffer.alloc(0);
      blocks.push(hmacSha256(prk, Buffer.concat([before, info, Buffer.of(blocks.length + 1)])));
    }
    return bytes(Buffer.concat(blocks, length));
  },
  Derive: () => Promise.reject(new Error("HKDF has two stages")),
});

/** SHA-256 takes blocks of so many bytes. */
const BLOCK_BYTES = 64;

/**
 * HMAC-SHA256 (RFC 2104) by two hashes in one call each: node:crypto's Hmac object takes six times as long for texts as
 * short as these, and a seal has nine of them.
 * @param key at most a block; HPKE's are 0 or 32 bytes
 */
function hmacSha256(key: Uint8Array, text: Uint8Array): Buffer {
  if (key.length > BLOCK_BYTES) throw new RangeError("an HMAC key of more than a block");
  const inner = Buffer.alloc(BLOCK_BYTES + text.length, 0x36);
  const outer = Buffer.alloc(BLOCK_BYTES + 32, 0x5c);
  for (const [i, byte] of key.entries()) {
    inner[i] = byte ^ 0x36;
    outer[i] = byte ^ 0x5c;
  }
  inner.set(text, BLOCK_BYTES);
  outer.set(hash("sha256", inner, "buffer"), BLOCK_BYTES);
  return hash("sha256", outer, "buffer");
}

/** AES-256-GCM with the tag at the end (RFC 5116). */
export const aes256Gcm = (): AEAD => ({
  id: 0x0002,
  type: "AEAD",
  name: "AES-256-GCM",
  Nk: 32,
  Nn: 12,
  Nt: 16,
  Seal: async (key, nonce, aad, plaintext) => gcmSeal(createSecretKey(key), nonce, aad, plaintext),
  Open: async (key, nonce, aad, ciphertext) => gcmOpen(createSecretKey(key), nonce, aad, ciphertext),
});

const TAG_BYTES = 16;

/**
 * @param key no bytes: node:crypto takes those too, but three times as long for each text
 * @returns the ciphertext and its tag
 */
export function gcmSeal(key: KeyObject, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(aad);
  return bytes(Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]));
}

/** @throws Error when a bit of key, nonce, associated data or ciphertext is not the sender's. */
export function gcmOpen(key: KeyObject, nonce: Uint8Array, aad: Uint8Array, ciphertext: Uint8Array): Uint8Array {
  if (ciphertext.length < TAG_BYTES) throw new RangeError("shorter than its tag");
  const end = ciphertext.length - TAG_BYTES;
  const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES }).setAAD(aad);
  decipher.setAuthTag(ciphertext.subarray(end));
  return bytes(Buffer.concat([decipher.update(ciphertext.subarray(0, end)), decipher.final()]));
}

const SUITE_ID = concat(encode("KEM"), I2OSP(0x0020, 2));
const EMPTY = new Uint8Array();

/** DHKEM(X25519, HKDF-SHA256) (RFC 9180, 4.1). OpenSSL refuses a shared secret of zeros, which low-order points give. */
export const dhkemX25519 = (ephemeral = generate): KEM<X25519Key> => {
  const kdf = hkdfSha256();
  const extractAndExpand = async (dh: Uint8Array, context: Uint8Array) => {
    const prk = await LabeledExtract(kdf, SUITE_ID, EMPTY, encode("eae_prk"), dh);
    return LabeledExpand(kdf, SUITE_ID, prk, encode("shared_secret"), context, 32);
  };
  const unused = () => Promise.reject(new Error("private keys stay in the memory of this process"));
  return {
    id: 0x0020,
    type: "KEM",
    name: "DHKEM(X25519, HKDF-SHA256)",
    Nsecret: 32,
    Nenc: 32,
    Npk: 32,
    Nsk: 32,
    DeriveKeyPair: unused,
    GenerateKeyPair: async () => generate(),
    SerializePublicKey: async ({ raw }) => raw,
    DeserializePublicKey: readPublicKey,
    SerializePrivateKey: unused,
    DeserializePrivateKey: unused,
    Encap: async (recipient) => {
      const { privateKey, publicKey: own } = ephemeral();
      const dh = diffieHellman({ privateKey: privateKey.object, publicKey: recipient.object });
      return { enc: own.raw, shared_secret: await extractAndExpand(dh, concat(own.raw, recipient.raw)) };
    },
    Decap: async (enc, own) => {
      const dh = diffieHellman({ privateKey: own.object, publicKey: (await readPublicKey(enc)).object });
      return extractAndExpand(dh, concat(enc, own.raw));
    },
  };
};

/** A new key pair. */
function generate() {
  const { privateKey, publicKey } = generateKeyPairSync("x25519");
  return x25519Pair(privateKey, publicKey);
}

/** A Buffer may be a window of a larger pool; the library wants plain bytes. */
function bytes(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer);
}
