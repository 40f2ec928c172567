import { expect, test } from "vitest";
import { AnswerLengths } from "./answer-lengths.ts";

test("what is still expected of an answer is the mean of the longer ones, less what is written", () => {
  const lengths = new AnswerLengths([10, 40, 20, 30].map((outputTokens) => ({ outputTokens })));
  expect([0, 5, 10, 25, 39, 40, 99].map((written) => lengths.moreAfter(written))).toEqual([25, 20, 20, 10, 1, 0, 0]);
  expect(new AnswerLengths([]).moreAfter(0)).toBe(0);
});
