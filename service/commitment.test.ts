import fc from "fast-check";
import { expect, test } from "vitest";
import { TextCommitment, commitment, inputText } from "./commitment.ts";

const SALT = Buffer.alloc(32, 3);

test("a text in pieces is committed to as the whole, wherever it was cut, also within a character", () => {
  const piece = fc.oneof(
    fc.string({ unit: "binary", maxLength: 40 }),
    fc.constant("x".repeat(9000)),
    fc.constant("\ud83d"),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), fc.string(), (pieces, beginning) => {
      const text = new TextCommitment(SALT, beginning);
      for (const each of pieces) text.add(each);
      expect(text.done()).toBe(commitment(SALT, beginning + pieces.join("")));
    }),
  );
  const halves = new TextCommitment(SALT);
  halves.add(`${"x".repeat(8191)}\ud83d`);
  halves.add("\ude00");
  expect(halves.done()).toBe(commitment(SALT, `${"x".repeat(8191)}😀`));
});

test("the input of a job is what it was asked with, whatever else and in whatever order its body says", () => {
  const job = { model: "m", temperature: 0, prompt: "b", messages: [{ role: "user" as const, content: "a" }] };
  expect(inputText(job)).toBe('{"messages":[{"content":"a","role":"user"}],"prompt":"b"}');
  expect(inputText({ query: "q", documents: ["d"] })).toBe('{"documents":["d"],"query":"q"}');
});
