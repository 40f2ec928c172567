import { expect, test } from "vitest";
import { PrefixCache } from "./prefix-cache.ts";

test("a prompt hits as many blocks from its start as are there, and never more than fit", () => {
  const cache = new PrefixCache(4);
  cache.use([1, 2, 3]);
  expect([cache.hits([1, 2, 9]), cache.hits([2, 3]), cache.hits([9]), cache.hits([1, 2, 3])]).toEqual([2, 2, 0, 3]);
  cache.use([7, 8]);
  expect(cache.size).toBe(4);
  // The end of the older prompt went first: its start is of use without it.
  expect(cache.hits([1, 2, 3])).toBe(2);
  cache.use([1, 2, 3, 4, 5, 6]);
  expect([cache.size, cache.hits([1, 2, 3, 4, 5, 6])]).toEqual([4, 4]);
});

test("a node without a cache never hits", () => {
  const none = new PrefixCache(0);
  none.use([1]);
  expect([none.hits([1]), none.hits([])]).toEqual([0, 0]);
});
