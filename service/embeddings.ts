/** Embeddings travel as 32-bit floats, little-endian, in base64: a fifth of the same numbers as text (bus-schemas/task.ts). */

/** As it travels → its numbers, rounded to what 32 bits hold. */
export function floatsOf(embedding: string): number[] {
  const bytes = Buffer.from(embedding, "base64");
  return Array.from({ length: Math.floor(bytes.length / 4) }, (_, at) => bytes.readFloatLE(at * 4));
}

/** Its numbers → as it travels. */
export function embeddingOf(floats: readonly number[]): string {
  const bytes = Buffer.alloc(floats.length * 4);
  for (const [at, value] of floats.entries()) bytes.writeFloatLE(value, at * 4);
  return bytes.toString("base64");
}
