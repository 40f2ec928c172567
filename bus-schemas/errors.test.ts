import { expect, test } from "vitest";
import { z } from "zod";
import { ERROR_CODES, MeshError, NodeRecord, WireError, fieldPath, parseOrThrow, type ErrorCode } from "./index.ts";

const CODES = Object.entries(ERROR_CODES);

test("each code has an HTTP error status", () => {
  const odd = CODES.filter(([, { httpStatus }]) => httpStatus < 400 || httpStatus >= 600);
  expect(odd).toEqual([]);
});

test("what is the caller's fault is not to be tried again, what is not may be", () => {
  // The same request with the same bytes, keys or deadline fails again.
  const final = CODES.filter(([, { httpStatus }]) => [400, 401, 403, 404, 413, 499, 504].includes(httpStatus));
  const passing = CODES.filter(([, { httpStatus }]) => [429, 502, 503, 529].includes(httpStatus));
  expect(final.filter(([, { retryable }]) => retryable)).toEqual([]);
  expect(passing.filter(([, { retryable }]) => !retryable)).toEqual([]);
  expect(Math.min(final.length, passing.length)).toBeGreaterThan(3);
});

test("an error keeps its meaning over the bus", () => {
  for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
    const error = new MeshError(code, "why", { field: "messages[0].role", retryAfterMs: 250 });
    const back = MeshError.fromWire(WireError.parse(JSON.parse(JSON.stringify(error.toWire()))));
    expect([back.code, back.message, back.field, back.retryAfterMs]).toEqual([code, "why", "messages[0].role", 250]);
    expect(back.retryable).toBe(ERROR_CODES[code].retryable);
  }
});

test("an error is valid on the wire however long its message and field are", () => {
  const error = new MeshError("bad_request", "m".repeat(9000), { field: "f".repeat(9000) });
  expect(WireError.safeParse(error.toWire()).success).toBe(true);
});

test("a foreign error's own message is not passed on, because it could quote content", () => {
  const wire = MeshError.from(new Error("the secret prompt")).toWire();
  expect(wire.code).toBe("internal");
  expect(JSON.stringify(wire)).not.toContain("secret");
  const ours = new MeshError("no_node", "why");
  expect(MeshError.from(ours)).toBe(ours);
});

test("a field's path is written as people write it", () => {
  expect(fieldPath([])).toBe("");
  expect(fieldPath(["messages", 0, "role"])).toBe("messages[0].role");
  expect(fieldPath([2, "a"])).toBe("[2].a");
});

test("a bad value is refused by field name and never quoted", () => {
  const schema = z.object({ list: z.array(z.object({ level: z.enum(["P0", "P1"]) })) });
  let caught: unknown;
  try {
    parseOrThrow(schema, { list: [{ level: "P0" }, { level: "my secret" }] });
  } catch (error) {
    caught = error;
  }
  expect(caught).toMatchObject({ code: "bad_request", field: "list[1].level" });
  expect((caught as MeshError).message).toMatch(/^list\[1\]\.level: /);
  expect((caught as MeshError).message).not.toContain("secret");
  expect(() => parseOrThrow(schema, "my secret", "internal")).toThrow(/^the message: /);
  expect(() => parseOrThrow(NodeRecord, null)).toThrow(MeshError);
});
