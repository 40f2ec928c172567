/** Cosignatures of checkpoints by c2sp.org/tlog-cosignature: what is signed, and how the time is written. Pure. */
import { decodeBase64 } from "./base64.ts";
import { HASH_BYTES } from "./hash.ts";

/** Big-endian seconds in front of the signature. */
export const TIME_BYTES = 8;
/** Longest name in a message that is signed by ML-DSA-44, bytes. */
const MAX_NAME_BYTES = 255;

/** The message that a witness signs by Ed25519: two lines, and the checkpoint's text. */
export function cosigned(text: Uint8Array, timeS: number): Buffer {
  return Buffer.concat([Buffer.from(`cosignature/v1\ntime ${timeS}\n`), text]);
}

/**
 * The message that is signed by ML-DSA-44: a `cosigned_message` over the whole tree of a checkpoint. Undefined for a text that is
 * none, or with a name that has no place in it.
 */
export function cosignedSubtree(name: string, text: Uint8Array, timeS: number): Buffer | undefined {
  const [origin = "", size = "", root = ""] = Buffer.from(text).toString().split("\n");
  const [cosigner, log, hash] = [opaque(name), opaque(origin), decodeBase64(root)];
  if (cosigner === undefined || log === undefined || hash?.length !== HASH_BYTES) return undefined;
  if (!/^(?:0|[1-9]\d{0,15})$/.test(size)) return undefined;
  const start = uint64(0);
  return Buffer.concat([
    Buffer.from("subtree/v1\n\0"),
    cosigner,
    timeBytes(timeS),
    log,
    start,
    uint64(Number(size)),
    hash,
  ]);
}

/** The time in a cosignature, seconds since 1970; undefined when it is too short for one, or its time cannot be. */
export function cosignatureTimeS(signature: Uint8Array): number | undefined {
  if (signature.length <= TIME_BYTES) return undefined;
  const seconds = Buffer.from(signature).readBigUInt64BE(0);
  return seconds <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(seconds) : undefined;
}

export function timeBytes(timeS: number): Buffer {
  return uint64(timeS);
}

function uint64(value: number): Buffer {
  const bytes = Buffer.alloc(TIME_BYTES);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

/** Behind its length in one byte (RFC 8446, section 3.4). */
function opaque(text: string): Buffer | undefined {
  const bytes = Buffer.from(text);
  const fits = bytes.length > 0 && bytes.length <= MAX_NAME_BYTES;
  return fits ? Buffer.concat([Buffer.of(bytes.length), bytes]) : undefined;
}
