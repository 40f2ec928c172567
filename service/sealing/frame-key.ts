import { createSecretKey, type KeyObject } from "node:crypto";
import { gcmOpen, gcmSeal } from "./primitives.ts";

/**
 * Seals the frames of one answer, each with its number as the nonce, to the key that only the caller and the node have. A
 * number is sealed once: sealing it again with another text would give away both.
 */
export class FrameKey {
  readonly #key: KeyObject;
  readonly #job: string;

  constructor(key: Uint8Array, job: string) {
    this.#key = createSecretKey(key);
    this.#job = job;
  }

  seal(seq: number, plaintext: Uint8Array): Uint8Array {
    return gcmSeal(this.#key, nonceOf(seq), this.#aad(seq), plaintext);
  }

  /** @throws Error when it is not the frame of this job with this number, unchanged. */
  open(seq: number, ciphertext: Uint8Array): Uint8Array {
    return gcmOpen(this.#key, nonceOf(seq), this.#aad(seq), ciphertext);
  }

  #aad(seq: number): Uint8Array {
    return Buffer.from(`${this.#job} ${seq}`);
  }
}

/** @throws RangeError when it is no number of a frame. */
function nonceOf(seq: number): Uint8Array {
  if (!Number.isSafeInteger(seq)) throw new RangeError("not a number of a frame");
  const nonce = Buffer.alloc(12);
  nonce.writeUIntBE(seq, 6, 6);
  return nonce;
}
