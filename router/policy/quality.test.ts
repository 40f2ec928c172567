import { expect, test } from "vitest";
import { quality } from "./quality.ts";

test.each([
  ["tinyllama-1b", 0.4],
  ["llama3.1-8b", 0.7],
  ["Qwen2-72B-Instruct", 1],
  ["llama3.1:8b-instruct-q4_0", 0.7],
  ["mixtral-8x7b", 0.981],
  ["gemma3-270m", 0.211],
  ["deepseek-r1-distill-qwen-1.5b", 0.458],
])("%s has about %d", (name, expected) => {
  expect(quality(name)).toBeCloseTo(expected, 2);
});

test.each(["gpt-4o-mini", "claude-3-sonnet", "clip-vision", "deepseek-v3", "model-bf16", "", "8bit-model"])(
  "the size of %s is unknown",
  (name) => {
    expect(quality(name)).toBe(0.5);
  },
);

test("a name made to be slow or absurd is neither", () => {
  expect(quality("-0b")).toBe(0.1);
  expect(quality("-99999b")).toBe(1);
  expect(quality(`-${"9".repeat(200)}b`)).toBe(0.5);
});
