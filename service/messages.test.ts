import { MsgHdrsImpl, headers as libraryHeaders, type Msg } from "@nats-io/nats-core";
import { expect, test } from "vitest";
import { CancelRequest, effectiveClass, isDataClass } from "../bus-schemas/index.ts";
import { classHeader, header, headersFor, makeHeaders, readBody } from "./messages.ts";

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

test("a class header counts however it is cased, and one that came twice is read whole", () => {
  const said = (...lines: [string, string][]) => {
    const headers = libraryHeaders();
    for (const [name, value] of lines) headers.append(name, value);
    return classHeader({ headers } as Msg);
  };
  expect(classHeader({} as Msg)).toBeUndefined();
  expect(said()).toBeUndefined();
  expect(said(["Mesh-Class", ""])).toBeUndefined();
  expect(said(["Mesh-Class", "P1"])).toBe("P1");
  expect(said(["mesh-class", "P0"])).toBe("P0");
  const twice = said(["Mesh-Class", "P2"], ["Mesh-Class", "P0"]);
  expect(isDataClass(twice)).toBe(false);
  expect(effectiveClass([twice], "P2")).toBe("P0");
  expect(effectiveClass([said(["Mesh-Class", "P2"], ["MESH-CLASS", "P1"])], "P2")).toBe("P1");
});

test.each(["Mesh-Class: P2\nMesh-Class: P0", "traceparent: a\rb", "Mesh-Class : P0", "\u041cesh-Class: P2"])(
  "headers that the library refuses to read refuse the message, and end nothing: %j",
  (line) => {
    const block = new TextEncoder().encode(`NATS/1.0\r\nMesh-Job: job-0001\r\n${line}\r\n\r\n`);
    const msg = {
      data: new TextEncoder().encode("{}"),
      get headers() {
        return MsgHdrsImpl.decode(block);
      },
    } as unknown as Msg;
    expect(() => msg.headers).toThrow();
    expect(header(msg, "Mesh-Job")).toBeUndefined();
    const unread = expect.objectContaining({ code: "bad_request", field: "headers" });
    expect(() => readBody(msg, CancelRequest)).toThrow(unread);
    expect(() => classHeader(msg)).toThrow(unread);
  },
);
