import { expect, test } from "vitest";
import { hash32 } from "./hash.ts";

test("the same text has the same hash for ever: session homes depend on it", () => {
  expect([hash32(""), hash32("node-1"), hash32("企业")]).toMatchInlineSnapshot(`
    [
      2872998923,
      2865264164,
      216808060,
    ]
  `);
});

test("near names spread evenly", () => {
  const buckets = Array.from({ length: 16 }, () => 0);
  for (let i = 0; i < 16_000; i++) {
    const bucket = hash32(`node-${i}`) >>> 28;
    buckets[bucket] = (buckets[bucket] ?? 0) + 1;
  }
  // 1,000 each by chance gives a standard deviation of 31.
  for (const count of buckets) expect(Math.abs(count - 1000)).toBeLessThan(160);
});
