import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeBundle, encodeBundle } from "./bundle.ts";
import { TILE_WIDTH, parseTilePath, tilePath, widthOf, type Tile } from "./tiles.ts";

const tile = fc.record({
  level: fc.oneof(fc.constant("entries" as const), fc.integer({ min: 0, max: 63 })),
  index: fc.integer({ min: 0, max: 1e12 }),
  width: fc.integer({ min: 1, max: TILE_WIDTH }),
});

test("paths are those of the specification's examples", () => {
  expect(tilePath({ level: 0, index: 1_234_067, width: 256 })).toBe("tile/0/x001/x234/067");
  expect(tilePath({ level: 2, index: 0, width: 1 })).toBe("tile/2/000.p/1");
  expect(tilePath({ level: "entries", index: 273, width: 112 })).toBe("tile/entries/273.p/112");
  expect(tilePath({ level: "entries", index: 1000, width: 256 })).toBe("tile/entries/x001/000");
});

test("a path is read back as the tile it was made of, and no second spelling is", () => {
  fc.assert(
    fc.property(tile, (one) => {
      expect(parseTilePath(tilePath(one))).toEqual(one);
    }),
  );
  for (const other of ["tile/00/000", "tile/0/0", "tile/0/x000/001", "tile/0/000.p/256", "tile/0/000.p/01"])
    expect(parseTilePath(other)).toBeUndefined();
  for (const other of [
    "tile/0/000.p/0",
    "tile/0/000.p",
    "tile/-1/000",
    "tile/0/../000",
    "checkpoint",
    "tile/0/000.tmp",
  ])
    expect(parseTilePath(other)).toBeUndefined();
});

// tlog-tiles, "Partial Tiles": what a tree of 70,000 and one of 256 entries consist of.
test("a tree of 70,000 entries has the tiles that the specification counts", () => {
  const widths = (level: Tile["level"], size: number) => {
    const found: number[] = [];
    while (widthOf(level, found.length, size) > 0) found.push(widthOf(level, found.length, size));
    return found;
  };
  expect(widths(0, 70_000)).toEqual([...Array.from({ length: 273 }, () => 256), 112]);
  expect(widths("entries", 70_000)).toEqual(widths(0, 70_000));
  expect(widths(1, 70_000)).toEqual([256, 17]);
  expect(widths(2, 70_000)).toEqual([1]);
  expect(widths(3, 70_000)).toEqual([]);
  expect([widths(0, 256), widths(1, 256)]).toEqual([[256], [1]]);
});

test("a bundle gives back its entries, of 0 to 65,535 bytes; a larger one is refused", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 300 })), (entries) => {
      expect(decodeBundle(encodeBundle(entries))?.map((entry) => [...entry])).toEqual(entries.map((one) => [...one]));
    }),
  );
  const largest = Buffer.alloc(65_535, 7);
  expect(decodeBundle(encodeBundle([largest]))).toEqual([largest]);
  expect(() => encodeBundle([Buffer.alloc(65_536)])).toThrow("65536 bytes");
});

test("a bundle that was cut anywhere but between two entries is none", () => {
  const whole = encodeBundle([Buffer.from("one"), Buffer.from(""), Buffer.from("three")]);
  const readable = Array.from({ length: whole.length + 1 }, (_, size) => size).filter(
    (size) => decodeBundle(whole.subarray(0, size)) !== undefined,
  );
  expect(readable).toEqual([0, 5, 7, 14]);
});
