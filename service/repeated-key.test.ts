import fc from "fast-check";
import { Packr } from "msgpackr";
import { expect, test } from "vitest";
import { decode, encode } from "./codec.ts";
import { refuseRepeatedKeys } from "./repeated-key.ts";

const json = (text: string) => new TextEncoder().encode(text);
const check = (body: Uint8Array, type: string) => refuseRepeatedKeys(body, type, decode(body, type));
const JSON_TYPE = "application/json";
const MSGPACK = "application/msgpack";

test.each([
  '{"security_level":"P0","prompt":"x","security_level":"P2"}',
  String.raw`{"security_level":"P0","security\u005flevel":"P2","prompt":"x"}`,
  '{"prompt":"x","prompt":"x"}',
  String.raw`{"prompt":"a \\","security_level":"P0","security_level":"P2"}`,
])("%s says something twice", (text) => {
  expect(() => check(json(text), JSON_TYPE)).toThrow(/twice/);
  expect(() => check(json(text), "")).toThrow(/twice/);
});

test("a map of msgpack that says a key twice is refused, whatever its head", () => {
  const pair = (key: string, value: string) =>
    Buffer.concat([key, value].map((text) => Buffer.concat([Buffer.of(0xa0 | text.length), Buffer.from(text)])));
  const pairs = Buffer.concat([pair("security_level", "P0"), pair("security_level", "P2")]);
  for (const head of [[0x82], [0xde, 0, 2], [0xdf, 0, 0, 0, 2]])
    expect(() => check(Buffer.concat([Buffer.from(head), pairs]), MSGPACK)).toThrow(/twice/);
});

test("what says each once passes, whatever is in its strings and below it", () => {
  const plain = new Packr({ useRecords: false });
  fc.assert(
    fc.property(
      fc.dictionary(
        fc.string({ unit: "binary" }),
        fc.json().map((text) => JSON.parse(text) as unknown),
      ),
      (value) => {
        // Parsers that make objects leave this key out.
        delete value["__proto__"];
        check(json(JSON.stringify(value)), JSON_TYPE);
        check(json(JSON.stringify(value, null, 2)), JSON_TYPE);
        check(plain.pack(value), MSGPACK);
        const shared = encode(value, "shared");
        refuseRepeatedKeys(shared, "application/vnd.tiermesh.msgpack; v=00000000", value);
      },
    ),
  );
  check(json(String.raw`{"prompt":"{\"a\":1,\"a\":2} \\","tools":[{"a":{"a":1}},{"a":2}]}`), JSON_TYPE);
  for (const text of ["[]", "1", "null", '"a:b"']) check(json(text), JSON_TYPE);
});
