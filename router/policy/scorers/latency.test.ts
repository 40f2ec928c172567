import fc from "fast-check";
import { expect, test } from "vitest";
import { latencyScore } from "./latency.ts";

test("1 at once, one half at the wanted time, a fifth at twice that", () => {
  expect([latencyScore(0, 1500), latencyScore(1500, 1500), latencyScore(3000, 1500)]).toEqual([1, 0.5, 0.2]);
});

test("it falls with time and stays a number, whatever is wanted", () => {
  const ms = fc.double({ min: 0, max: 1e20, noNaN: true });
  fc.assert(
    fc.property(ms, ms, ms, (a, b, slo) => {
      expect(latencyScore(Math.max(a, b), slo)).toBeLessThanOrEqual(latencyScore(Math.min(a, b), slo));
      expect(latencyScore(a, slo)).toBeGreaterThanOrEqual(0);
    }),
  );
});
