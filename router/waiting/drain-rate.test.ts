import { expect, test } from "vitest";
import { DrainRate } from "./drain-rate.ts";

/** Ten jobs a second for ten seconds. */
function steady(): { rate: DrainRate; nowMs: number } {
  const rate = new DrainRate();
  for (let i = 0; i <= 100; i++) rate.began(i * 100);
  return { rate, nowMs: 10_000 };
}

test("the rate is that of the jobs that began, also soon after the first, and fades when none does", () => {
  const { rate, nowMs } = steady();
  expect(rate.perSecond(nowMs)).toBeCloseTo(10, 0);
  const young = new DrainRate();
  for (let i = 0; i <= 10; i++) young.began(i * 100);
  expect(young.perSecond(1000)).toBeGreaterThan(9);
  expect(young.perSecond(1000)).toBeLessThan(13);
  expect(rate.perSecond(nowMs + 30_000)).toBeLessThan(1);
});

test("each caller who is sent away is promised the place after those before", () => {
  const { rate, nowMs } = steady();
  const pauses = Array.from({ length: 100 }, () => rate.promise(20, nowMs, 0));
  expect(pauses[0]).toBeGreaterThan(1900);
  expect(pauses[0]).toBeLessThan(2300);
  expect((pauses[99] ?? 0) - (pauses[0] ?? 0)).toBeGreaterThan(9000);
  // Ten seconds later those places were taken.
  for (let i = 0; i < 100; i++) rate.began(nowMs + i * 100);
  expect(rate.promise(20, nowMs + 10_000, 0)).toBeLessThan(2600);
});

test("the pause has bounds, is a second where nothing is known, and varies by up to a fifth, later only", () => {
  expect(new DrainRate().promise(0, 0, 0)).toBe(1000);
  expect(new DrainRate().promise(0, 0, 1)).toBe(1200);
  const { rate, nowMs } = steady();
  expect(rate.promise(0, nowMs, 0)).toBe(250);
  expect(rate.promise(1_000_000, nowMs, 0.9)).toBe(60_000);
  expect(rate.promise(1, nowMs, 0)).toBeLessThan(600);
});
