import { createHash } from "node:crypto";

/**
 * A public key as two people compare it by voice: the first 80 bits of its SHA-256, `3f2a-9c41-…`. So many that nobody finds a second key
 * with the same ones.
 */
export function keyFingerprint(publicKey: string): string {
  const hex = createHash("sha256").update(publicKey).digest("hex").slice(0, 20);
  return hex.match(/.{4}/g)?.join("-") ?? hex;
}
