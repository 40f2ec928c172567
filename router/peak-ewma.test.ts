import fc from "fast-check";
import { expect, test } from "vitest";
import { corrected } from "./peak-ewma.ts";

test("a worse observation counts at once", () => {
  expect(corrected(1, 1000, 4000, 0)).toBe(2);
  expect(corrected(1.5, 1500, 4000, 0)).toBe(2);
});

test("a better observation wears the old one off with a time constant of ten seconds", () => {
  expect(corrected(4, 4000, 1000, 0)).toBe(4);
  expect(corrected(4, 4000, 1000, 10_000)).toBeCloseTo(1 + 3 / Math.E, 9);
  expect(corrected(4, 4000, 1000, 1e9)).toBeCloseTo(1, 9);
});

test("a failure counts as at least five seconds, also where nothing was predicted", () => {
  expect(corrected(1, 1500, undefined, 0)).toBe(2);
  expect(corrected(1, 100, undefined, 0)).toBeGreaterThan(3);
  expect(corrected(1, undefined, undefined, 0)).toBeCloseTo(7 / 3, 9);
});

test("of short times the ratio counts for little: it is mostly chance", () => {
  expect(corrected(1, 50, 200, 0)).toBeLessThan(1.15);
  expect(corrected(1, 5000, 20_000, 0)).toBeGreaterThan(3);
});

test("whatever is observed, the factor stays between one half and four", () => {
  const ms = fc.double({ min: -1e12, max: 1e12, noNaN: true });
  fc.assert(
    fc.property(
      fc.double({ min: 0.5, max: 4, noNaN: true }),
      fc.option(ms, { nil: undefined }),
      fc.option(ms, { nil: undefined }),
      ms,
      (before, predicted, observed, since) => {
        const after = corrected(before, predicted, observed, since);
        expect(after).toBeGreaterThanOrEqual(0.5);
        expect(after).toBeLessThanOrEqual(4);
      },
    ),
  );
});
