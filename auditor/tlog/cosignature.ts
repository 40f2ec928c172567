/** Ed25519 cosignatures of checkpoints by c2sp.org/tlog-cosignature: what is signed, and how the time is written. Pure. */

/** Big-endian seconds in front of the signature. */
export const TIME_BYTES = 8;
/** A time, and an Ed25519 signature. */
const COSIGNATURE_BYTES = TIME_BYTES + 64;

/** The message that a witness signs: two lines, and the checkpoint's text. */
export function cosigned(text: Uint8Array, timeS: number): Buffer {
  return Buffer.concat([Buffer.from(`cosignature/v1\ntime ${timeS}\n`), text]);
}

/** The time in a cosignature, seconds since 1970; undefined when it has not the length, or its time cannot be. */
export function cosignatureTimeS(signature: Uint8Array): number | undefined {
  if (signature.length !== COSIGNATURE_BYTES) return undefined;
  const seconds = Buffer.from(signature).readBigUInt64BE(0);
  return seconds <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(seconds) : undefined;
}

export function timeBytes(timeS: number): Buffer {
  const bytes = Buffer.alloc(TIME_BYTES);
  bytes.writeBigUInt64BE(BigInt(timeS));
  return bytes;
}
