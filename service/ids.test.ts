import { expect, test } from "vitest";
import { decodeTime } from "ulid";
import { newId } from "./ids.ts";

test("ids are ULIDs of now, and no two are equal, however many random bytes they use up", () => {
  const before = Date.now();
  const ids = Array.from({ length: 2000 }, newId);
  const after = Date.now();
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.filter((id) => !/^[0-7][0-9A-HJKMNP-TV-Z]{25}$/.test(id))).toEqual([]);
  const times = ids.map(decodeTime);
  expect(Math.min(...times)).toBeGreaterThanOrEqual(before);
  expect(Math.max(...times)).toBeLessThanOrEqual(after);
});

test("every sign occurs at every random place", () => {
  const ids = Array.from({ length: 2000 }, newId);
  const signs = Array.from({ length: 16 }, (_, i) => new Set(ids.map((id) => id[10 + i])).size);
  expect(signs).toEqual(Array.from({ length: 16 }, () => 32));
});
