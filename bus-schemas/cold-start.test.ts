import { expect, test } from "vitest";
import { coldStartMs } from "./cold-start.ts";
import { Ms } from "./units.ts";

const model = { loaded: false, size_gb: 10, load_gb_per_second: 2 };

test("a model on disk costs its size over the learned rate; one in memory, or unknown, nothing", () => {
  expect(coldStartMs(model)).toBe(5000);
  expect(coldStartMs({ ...model, loaded: true })).toBe(0);
  expect(coldStartMs({ ...model, loaded: null })).toBe(0);
});

test("until a rate or a size is known the documented ones are assumed: 0.5 GB/s, 5 GB", () => {
  expect(coldStartMs({ ...model, load_gb_per_second: null })).toBe(20_000);
  expect(coldStartMs({ ...model, size_gb: null })).toBe(2500);
});

test("neither a rate of nothing nor an absurd size makes the wait longer than a message may say", () => {
  expect(Ms.safeParse(coldStartMs({ ...model, size_gb: 1_048_576, load_gb_per_second: 0 })).success).toBe(true);
  expect(coldStartMs({ ...model, load_gb_per_second: 0 })).toBe(1_000_000);
});
