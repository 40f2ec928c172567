import fc from "fast-check";
import { expect, test } from "vitest";
import { WeightedIndex } from "./weighted-index.ts";

test("a share of the total falls on the number that covers it, after any changes", () => {
  const changes = fc.array(fc.tuple(fc.nat(70), fc.nat(1000)), { maxLength: 100 });
  fc.assert(
    fc.property(changes, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (sets, share) => {
      const index = new WeightedIndex();
      const weights: number[] = Array.from({ length: 71 }, () => 0);
      for (const [at, weight] of sets) {
        index.set(at, weight);
        weights[at] = weight;
      }
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      expect(index.total).toBe(total);
      // The same by walking along.
      let rest = share * total;
      const expected = weights.findIndex((weight) => (rest -= weight) < 0);
      expect(index.at(share)).toBe(expected === -1 ? undefined : expected);
    }),
    { numRuns: 500 },
  );
});

test("nothing is drawn where nothing weighs, nor at a share of one or more", () => {
  const index = new WeightedIndex();
  expect(index.at(0)).toBeUndefined();
  index.set(3, 5);
  expect([index.at(0), index.at(0.999), index.at(1), index.at(Number.NaN)]).toEqual([3, 3, undefined, undefined]);
});
