import fc from "fast-check";
import { expect, test } from "vitest";
import { canonicalJson } from "./canonical-json.ts";

test("canonical JSON does not depend on the order of members and reads back as the same value", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = canonicalJson(value);
      expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
      const turned = JSON.parse(text, (_, inner: unknown) =>
        typeof inner === "object" && inner !== null && !Array.isArray(inner)
          ? Object.fromEntries(Object.entries(inner).reverse())
          : inner,
      ) as unknown;
      expect(canonicalJson(turned)).toBe(text);
    }),
  );
  // RFC 8785, section 3.2.3: sorted by UTF-16 code units, so an emoji comes before U+FB33.
  expect(canonicalJson({ "\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\u{1f600}": 5, "a b": 6, a: 7 })).toBe(
    '{"\\r":2,"1":4,"a":7,"a b":6,"€":1,"😀":5,"\ufb33":3}',
  );
});
