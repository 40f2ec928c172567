import fc from "fast-check";
import { expect, test } from "vitest";
import { held } from "./hysteresis.ts";

const run = (values: (number | null)[], width: number) => {
  let now: number | null = null;
  return values.map((value) => (now = held(now, value, width)));
};

test("it rises at once and falls only by what exceeds the width", () => {
  expect(run([85, 91, 88, 86, 85.5, 88, 80, 91], 5)).toEqual([85, 91, 91, 91, 90.5, 90.5, 85, 91]);
});

test("an unknown value is not held, and nothing is held over it", () => {
  expect(run([91, null, 86], 5)).toEqual([91, null, 86]);
});

test("never below the value nor more than the width above it; values that stay within the width of a threshold cross it once", () => {
  const values = fc.array(fc.double({ min: 0, max: 120, noNaN: true }), { minLength: 1 });
  fc.assert(
    fc.property(values, (list) => {
      for (const [i, now] of run(list, 5).entries()) {
        expect(now).toBeGreaterThanOrEqual(list[i] ?? 0);
        expect(now).toBeLessThanOrEqual((list[i] ?? 0) + 5);
      }
    }),
  );
  const near = fc.array(fc.double({ min: 85.01, max: 94, noNaN: true }), { minLength: 1 });
  fc.assert(
    fc.property(near, (list) => {
      const over = run(list, 5).map((now) => (now ?? 0) > 90);
      expect(over).toEqual(over.toSorted((a, b) => Number(a) - Number(b)));
    }),
  );
});
