import fc from "fast-check";
import { expect, test } from "vitest";
import { classifiedBy, DATA_CLASSES, declaredAs, effectiveClass, isDataClass, meantClass, stricter } from "./index.ts";

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

test("what looks like a stricter class than the default counts as that", () => {
  expect(effectiveClass(["p0"], "P2")).toBe("P0");
  expect(effectiveClass(["P2", "p1"], "P2")).toBe("P1");
  expect(effectiveClass(["secret", "P0;P2"], "P1")).toBe("P0");
});

test("what looks like a wider class than the default counts as the default", () => {
  expect(effectiveClass(["p2"], "P1")).toBe("P1");
  expect(effectiveClass(["p1"])).toBe("P0");
  expect(effectiveClass(["public"], "P2")).toBe("P2");
});

test("whatever is declared, the class is the strictest of what it is, looks like and would be by default", () => {
  const Said = fc.oneof(Class, fc.constantFrom("p0", "P1 ", "Р0", "p2", "secret", ""), fc.string({ unit: "binary" }));
  fc.assert(
    fc.property(fc.array(Said), Class, (declared, fallback) => {
      const said = declared.filter((value) => value !== "");
      const each = said.map((value) => {
        if (isDataClass(value)) return value;
        const meant = meantClass(value);
        return meant !== undefined && meant < fallback ? meant : fallback;
      });
      const strictest = each.toSorted()[0] ?? fallback;
      expect(effectiveClass(declared, fallback)).toBe(strictest);
    }),
  );
});

test("a declaration is put down as a class, as unreadable or as none, never by its words", () => {
  expect(["P1", "p1", "my salary is 3000", "", undefined].map(declaredAs)).toEqual([
    "P1",
    "unreadable",
    "unreadable",
    null,
    null,
  ]);
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

test.each([
  [["P1", undefined], "P2", "caller"],
  [["P2", "P0"], "P0", "caller"],
  [[undefined, undefined], "P1", "policy_default"],
  [["", "secret"], "P1", "policy_default"],
  [["P2", "secret"], "P1", "policy_default"],
  [["p0", undefined], "P2", "likely_meaning"],
] as const)(
  "of the declarations %j with the default %s it is said who decided the class: %s",
  (declared, fallback, by) => {
    expect(classifiedBy(declared, effectiveClass(declared, fallback), fallback)).toBe(by);
  },
);
