import { expect, test } from "vitest";
import { connectionFailure, failureOf, retryAfterMs } from "./provider-failure.ts";

const NOW = Date.UTC(2026, 10, 23, 12, 0, 0);

test.each<[string, Record<string, string>, number | undefined]>([
  ["seconds", { "retry-after": "2" }, 2000],
  ["parts of a second", { "retry-after": "0.5" }, 500],
  ["an HTTP date", { "retry-after": "Mon, 23 Nov 2026 12:00:30 GMT" }, 30_000],
  ["a date that has passed", { "retry-after": "Mon, 23 Nov 2026 11:00:00 GMT" }, 0],
  ["milliseconds, which are more exact", { "retry-after-ms": "1500", "retry-after": "2" }, 1500],
  ["a year", { "retry-after": "31536000" }, 3_600_000],
  ["a number of a thousand digits", { "retry-after": "9".repeat(1000) }, undefined],
  ["less than nothing", { "retry-after": "-5" }, undefined],
  ["words", { "retry-after": "tomorrow" }, undefined],
  ["a bare year, which Date.parse would take", { "retry-after": "2026-12-01" }, undefined],
  ["nothing", {}, undefined],
])("Retry-After in %s", (_, headers, expected) => {
  expect(retryAfterMs(headers, NOW)).toBe(expected);
});

test("an error body that is hostile or no JSON is only an error body", () => {
  for (const body of ["", "null", "[]", "{", '{"error":null}', '{"error":"x"}', '{"error":{"code":{"a":1}}}'])
    expect(failureOf(429, {}, body, NOW)).toMatchObject({ blame: "busy", told: { code: "rate_limited" } });
});

test("of a connection's error only a plain code is told", () => {
  expect(connectionFailure(Object.assign(new Error("x"), { code: "ENOTFOUND" })).message).toContain("(ENOTFOUND)");
  for (const code of ["sk-secret key", 7, undefined])
    expect(connectionFailure(Object.assign(new Error("secret"), { code })).message).not.toMatch(/secret|7/);
  expect(connectionFailure(null).message).toBe("the provider cannot be reached, or broke off");
});
