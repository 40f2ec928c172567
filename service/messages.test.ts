import { headers as libraryHeaders } from "@nats-io/nats-core";
import { expect, test } from "vitest";
import { headersFor, makeHeaders } from "./messages.ts";

test("headers are those that the library itself would send, in the same order", () => {
  const theirs = libraryHeaders();
  theirs.set("Mesh-Job", "job-0001");
  theirs.set("ce-id", "e1");
  theirs.set("Content-Type", "application/json");
  const ours = headersFor("json", { "Mesh-Job": "job-0001", traceparent: undefined, "ce-id": "e1" });
  const sent = (headers: unknown) => new TextDecoder().decode((headers as { encode(): Uint8Array }).encode());
  expect(sent(ours)).toBe(sent(theirs));
  expect([ours.get("Mesh-Job"), ours.get("traceparent"), ours.has("traceparent")]).toEqual(["job-0001", "", false]);
});

test.each(["a\r\nMesh-Class: P2", "a\nb", "a\rb", "\n"])("a value cannot begin a header of its own: %j", (value) => {
  expect(() => makeHeaders({ "Mesh-Job": "ok", traceparent: value })).toThrow(/^traceparent: has a line break$/);
});
