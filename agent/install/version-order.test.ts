import { expect, test } from "vitest";
import { isOlder } from "./version-order.ts";

test("the order is that of Semantic Versioning's own example, and of numbers", () => {
  // semver.org, §11.
  const rising = [
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.9",
    "1.0.10",
    "1.2.0",
    "2.0.0",
  ];
  for (const [place, version] of rising.entries())
    for (const [other, against] of rising.entries())
      expect([version, against, isOlder(version, against)]).toEqual([version, against, place < other]);
});

test("build metadata does not count, and what is no version is text", () => {
  expect([isOlder("1.0.0+a", "1.0.0+b"), isOlder("v1.0.0", "1.0.1"), isOlder("x", "y")]).toEqual([false, true, true]);
});
