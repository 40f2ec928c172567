import { expect, test } from "vitest";
import { compareVersions, findVersion, readServerVersion, VERSION_FLOOR } from "./server-version.ts";

test("a version is found in what servers and packages print", () => {
  expect(findVersion("nats-server: v2.15.2")).toBe("2.15.2");
  expect(findVersion("2.9.10-1+b3")).toBe("2.9.10");
  expect(findVersion("nats-server: v2.12.0-RC.1")).toBe("2.12.0");
  expect(findVersion("(none)")).toBeUndefined();
});

test("versions compare by number, not by letter", () => {
  expect(compareVersions("2.9.9", VERSION_FLOOR)).toBeLessThan(0);
  expect(compareVersions("2.9.10", VERSION_FLOOR)).toBe(0);
  expect(compareVersions("2.10.0", VERSION_FLOOR)).toBeGreaterThan(0);
  expect(compareVersions("10.0.0", "9.9.9")).toBeGreaterThan(0);
});

test("a program that is not a nats-server, or not there, has no version", async () => {
  expect(await readServerVersion(process.execPath)).toBeUndefined();
  expect(await readServerVersion("/no/such/program")).toBeUndefined();
});
