import fc from "fast-check";
import { expect, test } from "vitest";
import { DATA_CLASSES, effectiveClass, type DataClass } from "../bus-schemas/index.ts";
import { declaredClass } from "./data-class.ts";

test("no declaration is left to the router", () => {
  expect(declaredClass([undefined, ""], { security_level: undefined, "metadata.security_level": null })).toEqual({});
});

test("the strictest of all places wins", () => {
  expect(declaredClass(["P2", "P1"], { security_level: "P2" })).toEqual({ dataClass: "P1" });
  expect(declaredClass(["P2"], { security_level: "P2", "metadata.security_level": "P0" })).toEqual({ dataClass: "P0" });
});

test("a header sent twice can only make the class stricter", () => {
  // Node joins repeated headers with a comma.
  expect(declaredClass(["P2, P0"], {})).toEqual({ dataClass: "P0" });
  expect(declaredClass([["P1", "P2"]], {})).toEqual({ dataClass: "P1" });
});

test("an unknown declaration is passed on for the router's default, beside the known ones", () => {
  expect(declaredClass(["P2"], { security_level: "secret" })).toEqual({ dataClass: "P2", securityLevel: "secret" });
  expect(declaredClass(["p0"], {})).toEqual({ securityLevel: "p0" });
  expect(declaredClass(["x".repeat(1000)], {}).securityLevel?.length).toBe(64);
});

test("of several unknown declarations the one that looks strictest is passed on", () => {
  expect(declaredClass(["secret"], { security_level: "p0", "metadata.security_level": "p1" })).toEqual({
    securityLevel: "p0",
  });
});

test("letters of other scripts in a header are read as they were written", () => {
  const asNodeHasIt = Buffer.from("\uff30\uff10").toString("latin1");
  expect(declaredClass([asNodeHasIt], {})).toEqual({ securityLevel: "\uff30\uff10" });
  // Not UTF-8: an O with a stroke in Latin-1.
  expect(declaredClass(["P\u00d8"], {})).toEqual({ securityLevel: "P\u00d8" });
});

test("a level that is not text is a bad request naming the field", () => {
  expect(() => declaredClass([], { "metadata.security_level": 0 })).toThrow(
    expect.objectContaining({ code: "bad_request", field: "metadata.security_level" }),
  );
});

test("whatever is declared where, the router ends up with the class of all declarations together", () => {
  const misspelt = ["secret", "p0", "p1", " P2", "P0;P2", `${"x".repeat(70)}P1`, `p1${"x".repeat(70)}P0`];
  const level = fc.constantFrom<string | undefined>(...DATA_CLASSES, undefined, "", ...misspelt);
  fc.assert(
    fc.property(
      level,
      level,
      level,
      level,
      fc.constantFrom<DataClass>(...DATA_CLASSES),
      (header, header2, body, metadata, fallback) => {
        const { dataClass, securityLevel } = declaredClass([header, header2], {
          security_level: body,
          "metadata.security_level": metadata,
        });
        // What the router does with the two places that a job has (router/route-request.ts). HTTP knows no space around a
        // header's value.
        expect(effectiveClass([dataClass, securityLevel], fallback)).toBe(
          effectiveClass([header?.trim(), header2?.trim(), body, metadata], fallback),
        );
      },
    ),
  );
});
