/**
 * XAES-256-GCM (c2sp.org/XAES-256-GCM): AES-256-GCM with nonces of 24 bytes, so that they can be drawn at random as often as one
 * likes (2^80 times). Each message has an AES key of its own, derived by SP 800-108 from key and nonce.
 */
import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  randomBytes,
  type Cipheriv,
  type KeyObject,
} from "node:crypto";

export const KEY_BYTES = 32;
const NONCE_BYTES = 24;
const TAG_BYTES = 16;
/** The reduction of GF(2^128) in CMAC (SP 800-38B, 5.3). */
const R128 = 0x87;

export class Xaes {
  /** Block by block: nothing of one call is left for the next. */
  readonly #blocks: Cipheriv;
  /** CMAC's first subkey. */
  readonly #k1: Buffer;

  /** @param key 32 bytes */
  constructor(key: Uint8Array) {
    this.#blocks = createCipheriv("aes-256-ecb", createSecretKey(key), null);
    this.#blocks.setAutoPadding(false);
    this.#k1 = doubled(this.#blocks.update(Buffer.alloc(16)));
  }

  /** The nonce, the ciphertext and the tag. @param about is bound to it and not in it */
  seal(text: Uint8Array, about: Uint8Array, nonce: Uint8Array = randomBytes(NONCE_BYTES)): Buffer {
    const cipher = createCipheriv("aes-256-gcm", this.#keyOf(nonce), nonce.subarray(12));
    cipher.setAAD(about);
    return Buffer.concat([nonce, cipher.update(text), cipher.final(), cipher.getAuthTag()]);
  }

  /** Undefined when it was not sealed by this key for this `about`, or was changed. */
  open(sealed: Uint8Array, about: Uint8Array): Buffer | undefined {
    if (sealed.length < NONCE_BYTES + TAG_BYTES) return undefined;
    const nonce = sealed.subarray(0, NONCE_BYTES);
    const options = { authTagLength: TAG_BYTES };
    const decipher = createDecipheriv("aes-256-gcm", this.#keyOf(nonce), nonce.subarray(12), options);
    decipher.setAAD(about);
    decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
    const text = decipher.update(sealed.subarray(NONCE_BYTES, sealed.length - TAG_BYTES));
    try {
      decipher.final();
      return text;
    } catch {
      return undefined;
    }
  }

  /** AES(M1 ^ K1) || AES(M2 ^ K1) with Mi = 0, i, "X", 0, and the nonce's first half. */
  #keyOf(nonce: Uint8Array): KeyObject {
    const messages = Buffer.alloc(KEY_BYTES);
    for (const i of [0, 1]) {
      messages.set([0, i + 1, 0x58, 0], i * 16);
      messages.set(nonce.subarray(0, 12), i * 16 + 4);
    }
    for (let i = 0; i < KEY_BYTES; i++) messages[i] = (messages[i] ?? 0) ^ (this.#k1[i % 16] ?? 0);
    // node:crypto takes a key of this kind in a quarter of the time.
    return createSecretKey(this.#blocks.update(messages));
  }
}

/** A block times x in GF(2^128). */
function doubled(block: Buffer): Buffer {
  const out = Buffer.alloc(16);
  for (let i = 0; i < 16; i++) out[i] = ((block[i] ?? 0) << 1) | ((block[i + 1] ?? 0) >> 7);
  if (((block[0] ?? 0) & 0x80) !== 0) out[15] = (out[15] ?? 0) ^ R128;
  return out;
}
