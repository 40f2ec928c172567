import { expect, test } from "vitest";
import { trendOf } from "./trend.ts";
import { seeded } from "../kit/routing.ts";

test("a steady growth is found exactly, and nothing is left open", () => {
  const samples = Array.from({ length: 120 }, (_, i) => [i / 120, 50 + (3 * i) / 120] as const);
  const { perHour, low, high } = trendOf(samples);
  expect(perHour).toBeCloseTo(3, 9);
  expect(high - low).toBeLessThan(1e-9);
});

test("noise around a level is no growth, and a small growth within much noise is not claimed", () => {
  const random = seeded(7);
  const flat = trendOf(Array.from({ length: 600 }, (_, i) => [i / 600, 50 + random() * 4] as const));
  expect(flat.low).toBeLessThan(0);
  expect(flat.high).toBeGreaterThan(0);
});

test("of fewer samples than parts nothing is said", () => {
  expect(trendOf([[0, 1]]).perHour).toBeNaN();
});
