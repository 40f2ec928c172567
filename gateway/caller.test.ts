import { expect, test } from "vitest";
import { MeshError } from "../bus-schemas/index.ts";
import { callerOf } from "./caller.ts";
import { toCall } from "./call.ts";

const by = (caller?: string, chain?: string) => ({
  ...(caller === undefined ? {} : { "x-tiermesh-caller": caller }),
  ...(chain === undefined ? {} : { "x-tiermesh-on-behalf-of": chain }),
});
const said = { declared_by: "gateway", pseudonyms: false };

test("a caller is who the headers name, the chain with it, else who OpenAI's field names", () => {
  expect(callerOf(by("alice"), { user: "bob" })).toEqual({ id: "alice", kind: "user", on_behalf_of: [], ...said });
  expect(callerOf(by("service:crm", "agent:planner, alice"), {})).toEqual({
    id: "crm",
    kind: "service",
    on_behalf_of: [
      { id: "planner", kind: "agent" },
      { id: "alice", kind: "user" },
    ],
    ...said,
  });
  expect(callerOf({}, { user: "u1", safety_identifier: "s1" })?.id).toBe("s1");
  expect(callerOf(by(), { user: "service:x" })).toMatchObject({ id: "service:x", kind: "user" });
  expect(callerOf(by("%E7%8E%8B%E4%BC%9F%2C%20jr"), {})?.id).toBe("王伟, jr");
  expect(callerOf(by(Buffer.from("王伟").toString("latin1")), {})?.id).toBe("王伟");
  for (const nobody of [callerOf({}, {}), callerOf(by(" "), { user: "" }), callerOf({}, { user: null })])
    expect(nobody).toBeUndefined();
});

test.each([
  ["X-Tiermesh-Caller", by("alice, bob"), {}],
  ["X-Tiermesh-Caller", by("%zz"), {}],
  ["X-Tiermesh-Caller", by("a%0Ab"), {}],
  ["X-Tiermesh-Caller", by("%E2%80%AEecila"), {}],
  ["X-Tiermesh-Caller", by("service:"), {}],
  ["X-Tiermesh-Caller", by("x".repeat(201)), {}],
  ["X-Tiermesh-On-Behalf-Of", by("alice", "bob,,carol"), {}],
  ["X-Tiermesh-On-Behalf-Of", by("alice", Array.from({ length: 9 }, (_, i) => `p${i}`).join(",")), {}],
  ["X-Tiermesh-On-Behalf-Of", by(undefined, "bob"), {}],
  ["user", {}, { user: 7 }],
  ["user", {}, { user: " alice" }],
  ["safety_identifier", {}, { safety_identifier: "a\u0000b" }],
])("what cannot be a caller is refused by its name: %s", (field, headers, body) => {
  const error = (() => {
    try {
      return callerOf(headers, body);
    } catch (thrown) {
      return thrown;
    }
  })();
  expect(error).toBeInstanceOf(MeshError);
  expect(error).toMatchObject({ code: "bad_request", field });
});

test("a body cannot name a caller in the mesh's own words, and may bring its own salt", () => {
  const salt = Buffer.alloc(32, 1).toString("base64url");
  const { job } = toCall({}, { caller: { id: "root", declared_by: "gateway" }, commitment_salt: salt }, by("alice"));
  expect(job).toMatchObject({ caller: { id: "alice" }, commitment_salt: salt });
  expect(toCall({}, { caller: { id: "root" } }, {}).job).not.toHaveProperty("caller");
});
