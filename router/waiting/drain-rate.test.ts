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

test("each caller who is sent away is promised the place after those before, at nine tenths of the rate", () => {
  const { rate, nowMs } = steady();
  const pauses = Array.from({ length: 100 }, () => rate.promise(nowMs, 0));
  expect(pauses[0]).toBe(250);
  expect(pauses[99]).toBeGreaterThan(10_000);
  expect(pauses[99]).toBeLessThan(12_000);
  // Twelve seconds later those places were taken.
  for (let i = 0; i < 120; i++) rate.began(nowMs + i * 100);
  expect(rate.promise(nowMs + 12_000, 0)).toBe(250);
});

test("the pause has bounds, is a second where nothing is known, and varies by up to a fifth, later only", () => {
  expect(new DrainRate().promise(0, 0)).toBe(1000);
  expect(new DrainRate().promise(0, 1)).toBe(1200);
  const { rate, nowMs } = steady();
  expect(rate.promise(nowMs, 0)).toBe(250);
  for (let i = 0; i < 1000; i++) rate.promise(nowMs, 0);
  expect(rate.promise(nowMs, 0.9)).toBe(60_000);
});
