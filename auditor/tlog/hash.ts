import { hash } from "node:crypto";

/** Length of a hash of the tree, bytes (SHA-256). */
export const HASH_BYTES = 32;

/** RFC 6962, section 2.1: a leaf's hash and an inner node's can never be taken for each other. */
const LEAF_PREFIX = Buffer.of(0);
const NODE_PREFIX = Buffer.of(1);

/** Root of a tree without entries: the hash of nothing (RFC 6962, section 2.1). */
export const EMPTY_ROOT = sha256(Buffer.alloc(0));

/** SHA-256, 32 bytes. */
export function sha256(data: Uint8Array): Buffer {
  return hash("sha256", data, "buffer");
}

/** Hash of an entry: SHA-256(0x00 || entry). */
export function leafHash(entry: Uint8Array): Buffer {
  return sha256(Buffer.concat([LEAF_PREFIX, entry]));
}

/** Hash of an inner node: SHA-256(0x01 || left || right). */
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  return sha256(Buffer.concat([NODE_PREFIX, left, right]));
}
