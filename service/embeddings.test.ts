import { expect, test } from "vitest";
import { embeddingOf, floatsOf } from "./embeddings.ts";

test("numbers come back as 32 bits hold them", () => {
  const floats = [0, 1, -0.5, 0.1, 3.4e38, 1e-40];
  expect(floatsOf(embeddingOf(floats))).toEqual(Array.from(new Float32Array(floats)));
});

test("the bytes are OpenAI's base64: little-endian float32", () => {
  expect(embeddingOf([1])).toBe("AACAPw==");
});
