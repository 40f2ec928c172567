import fc from "fast-check";
import { expect, test } from "vitest";
import { meantClass } from "./index.ts";

test.each([
  ["lower case", "p0", "p1"],
  ["spaces around and between", " P0 ", "P 1"],
  ["full-width letters", "\uff30\uff10", "\uff30\uff11"],
  ["mathematical letters", "\u{1d40f}\u{1d7ce}", "\u2119\u{1d7d9}"],
  ["circled, raised and lowered ones", "\u24c5\u24ea", "P\u00b9"],
  ["a Cyrillic Er", "\u04200", "\u04401"],
  ["a Greek Rho", "\u03a10", "\u03c11"],
  ["the letters O, l and I", "PO", "Pl"],
  ["a Cyrillic O, a Ukrainian I", "P\u041e", "P\u0406"],
  ["strokes and signs", "P\u00d8", "P|"],
  ["an exclamation mark, a theta", "P\u0398", "P!"],
  ["Arabic digits", "P\u0660", "P\u0661"],
  ["digits of one block with two alphabets of them", "P\u{116da}", "P\u{116db}"],
  ["an invisible character between", "P\u200b0", "P\u20601"],
  ["marks on the letters", "\u1e540", "P\u03381"],
  ["a line break", "P\n0", "P\r\n1"],
  ["a wider class behind it", "P0;P2", "P1,P2"],
  ["a wider class before it", "P2, P0", "P2 P1"],
  ["words around it", "level=P0!", "class P1 (draft)"],
])("%s: a person may have meant P0 or P1", (_, p0, p1) => {
  expect([meantClass(p0), meantClass(p1)]).toEqual(["P0", "P1"]);
});

test("P0 is meant where both could be", () => {
  expect(meantClass("P1 or p0")).toBe("P0");
});

test.each([
  "",
  "P",
  "P2",
  "p2",
  "P3",
  "secret",
  "public",
  "0P",
  "\u{1f600}",
  "\ud800",
  "P\u0662",
  "confidential",
  "report",
  "explicit",
  "important-template",
])("%j means neither", (declared) => {
  expect(meantClass(declared)).toBeUndefined();
});

test("nothing that is no letter or digit, put anywhere, hides a class", () => {
  const hidden = fc
    .string({ unit: "binary" })
    .map((text) => text.replace(/[\p{L}\p{N}\p{S}\p{P}]/gu, ""))
    .filter((text) => !/[\p{L}\p{N}]/u.test(text.normalize("NFKD")));
  fc.assert(
    fc.property(hidden, hidden, hidden, fc.constantFrom("P0", "P1"), (before, between, after, meant) => {
      expect(meantClass(before + meant[0] + between + meant[1] + after)).toBe(meant);
    }),
  );
});

test("no text is too odd or too long for an answer at once", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => [undefined, "P0", "P1"].includes(meantClass(text))));
  const startedAtMs = performance.now();
  // One of these decomposes into eighteen.
  for (const char of ["P", "\ufdfa", "\u0301", "\u{116e3}"]) meantClass(char.repeat(1_000_000));
  expect(performance.now() - startedAtMs).toBeLessThan(1000);
});
