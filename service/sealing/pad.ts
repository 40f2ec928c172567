/** Sealed JSON is padded to a multiple of this, bytes. */
const PAD_TO_BYTES = 256;

/**
 * JSON with spaces after it, which every parser skips. Ciphertext is as long as its text, and the lengths of a streamed
 * answer's pieces would otherwise give away its words (Weiss et al., "What Was Your Prompt?", USENIX Security 2024).
 */
export function paddedJson(value: unknown): Uint8Array {
  const json = Buffer.from(JSON.stringify(value));
  const padded = new Uint8Array(Math.ceil(json.length / PAD_TO_BYTES) * PAD_TO_BYTES).fill(0x20);
  padded.set(json);
  return padded;
}
