import { expect, test } from "vitest";
import { parseSlots, shareOf, slotsOf, type SlotSettings } from "./slots.ts";

const told = (slots: number) => ({ name: "vllm-8000", kind: "vllm", slots });
const settings = (text: string): SlotSettings => parseSlots(text) ?? expect.fail(`${text} is not read`);
const NONE: SlotSettings = { all: undefined, by: new Map() };

test("the nearest word counts: the runtime's name, its kind, all, and else what it tells itself", () => {
  expect(slotsOf(told(16), settings("2,vllm=8,vllm-8000=32"), null)).toBe(32);
  expect(slotsOf(told(16), settings("2,vllm=8"), null)).toBe(8);
  expect(slotsOf(told(16), settings("2"), null)).toBe(2);
  expect(slotsOf(told(16), NONE, null)).toBe(16);
});

test("a limit is never passed and raises nothing; a runtime that can run nothing now stays at 0", () => {
  expect(slotsOf(told(16), settings("32"), 4)).toBe(4);
  expect(slotsOf(told(1), NONE, 8)).toBe(1);
  expect(slotsOf(told(0), settings("4"), 8)).toBe(0);
});

test("a share of the slots is rounded down, and leaves one where there was one", () => {
  expect([shareOf(16, 2 / 3), shareOf(2, 2 / 3), shareOf(1, 1 / 3), shareOf(0, 1), shareOf(3, 0)]).toEqual([
    10, 1, 1, 0, 1,
  ]);
});

test.each(["", "x", "0", "-1", "1.5", "1,2", "a=1,a=2", "a=", "=3", "a.b=3", "10001", "1,,2"])(
  "%j is not read",
  (text) => {
    expect(parseSlots(text)).toBeUndefined();
  },
);
