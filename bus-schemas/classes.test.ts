import fc from "fast-check";
import { expect, test } from "vitest";
import { DATA_CLASSES, effectiveClass, isDataClass, stricter } from "./index.ts";

const Class = fc.constantFrom(...DATA_CLASSES);

test("the stricter class wins, in whatever order they are given", () => {
  expect([stricter("P0", "P2"), stricter("P2", "P1"), stricter("P1", "P1")]).toEqual(["P0", "P1", "P1"]);
  fc.assert(fc.property(Class, Class, (a, b) => stricter(a, b) === stricter(b, a) && stricter(a, b) <= a));
});

test("only the exact spelling is a class", () => {
  for (const notOne of ["p0", " P0", "P0 ", "P3", "Р0", "", "P", 0, null, undefined, ["P0"]])
    expect(isDataClass(notOne)).toBe(false);
  for (const one of DATA_CLASSES) expect(isDataClass(one)).toBe(true);
});

test("a job without a class takes the policy's default, and without one P0", () => {
  expect(effectiveClass([])).toBe("P0");
  expect(effectiveClass([undefined, ""])).toBe("P0");
  expect(effectiveClass([undefined], "P2")).toBe("P2");
});

test("an unknown class never widens what another place declared", () => {
  expect(effectiveClass(["P2", "p2"])).toBe("P0");
  expect(effectiveClass(["P1", "secret"], "P2")).toBe("P1");
  fc.assert(
    fc.property(fc.array(fc.oneof(Class, fc.string())), Class, Class, (declared, known, fallback) => {
      expect(effectiveClass([...declared, known], fallback) <= known).toBe(true);
      expect(effectiveClass(declared.toReversed(), fallback)).toBe(effectiveClass(declared, fallback));
    }),
  );
});
