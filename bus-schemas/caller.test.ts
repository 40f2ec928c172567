import { expect, test } from "vitest";
import { Caller, partyOf } from "./caller.ts";
import { parseOrThrow } from "./errors.ts";
import { JobRequest } from "./job.ts";

test("a caller is a short printable name, of a user unless it says otherwise", () => {
  expect(Caller.parse({ id: "王 伟" })).toEqual({
    id: "王 伟",
    kind: "user",
    on_behalf_of: [],
    declared_by: "client",
    pseudonyms: false,
  });
  expect(partyOf("service:crm")).toEqual({ id: "crm", kind: "service" });
  expect(partyOf("urn:x:y")).toEqual({ id: "urn:x:y" });
});

test.each([
  ["caller.id", { id: "" }],
  ["caller.id", { id: "a\nb" }],
  ["caller.id", { id: " a" }],
  ["caller.id", { id: "\u202eecila" }],
  ["caller.id", { id: "x".repeat(201) }],
  ["caller.id", { id: 7 }],
  ["caller.kind", { id: "a", kind: "root" }],
  ["caller.on_behalf_of", { id: "a", on_behalf_of: Array.from({ length: 9 }, () => ({ id: "b" })) }],
  ["caller.on_behalf_of[1].id", { id: "a", on_behalf_of: [{ id: "b" }, { id: "" }] }],
  ["caller", "alice"],
])("one that is none is refused by its field: %s", (field, caller) => {
  expect(() => parseOrThrow(JobRequest, { prompt: "x", caller })).toThrow(
    expect.objectContaining({ code: "bad_request", field }),
  );
});

test.each(["", "abc", "A".repeat(42), `${"A".repeat(42)}B`, "A".repeat(44), 7])(
  "a salt is 32 bytes and nothing else: %s",
  (commitment_salt) => {
    expect(() => parseOrThrow(JobRequest, { prompt: "x", commitment_salt })).toThrow(
      expect.objectContaining({ code: "bad_request", field: "commitment_salt" }),
    );
  },
);
