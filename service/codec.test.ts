import fc from "fast-check";
import { Packr } from "msgpackr";
import { expect, test } from "vitest";
import { CONTENT_TYPES, MeshError, NodeRecord, SHARED_STRUCTURES, versionOfStructures } from "../bus-schemas/index.ts";
import {
  SHARED_CONTENT_TYPE,
  answerEncoding,
  contentType,
  decode,
  encode,
  learnStructures,
  structuresVersion,
  type Encoding,
} from "./codec.ts";

const node = NodeRecord.parse({
  node_id: "ws-1",
  layer: "L1",
  status: "healthy",
  hardware: { gpus: [{ name: "RTX 4090", vram_total_gb: 24 }] },
  models: ["qwen2-7b"],
  load: {},
  last_heartbeat: "2024-01-15T10:30:00Z",
});
const ENCODINGS: Encoding[] = ["json", "msgpack", "shared"];

function codeOf(decodeIt: () => unknown): string {
  try {
    decodeIt();
  } catch (error) {
    if (error instanceof MeshError) return error.code;
    throw error;
  }
  return "decoded";
}

test("each encoding gives back what went in, whatever it is", () => {
  for (const encoding of ENCODINGS) {
    expect(decode(encode(node, encoding), contentType(encoding))).toEqual(node);
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const plain = JSON.parse(JSON.stringify(value)) as unknown;
        // msgpackr renames the key __proto__, which no schema of ours has.
        fc.pre(!JSON.stringify(plain).includes("__proto__"));
        expect(decode(encode(plain, encoding), contentType(encoding))).toEqual(plain);
      }),
      { numRuns: 50 },
    );
  }
});

test("a heartbeat in shared structures carries no field names and is far smaller than JSON", () => {
  const shared = encode(node, "shared");
  expect(Buffer.from(shared).includes("served_models")).toBe(false);
  expect(shared.length * 2).toBeLessThan(encode(node, "json").length);
});

test("a body without a Content-Type is JSON, as a person sends it", () => {
  expect(decode(new TextEncoder().encode('{"a":1}'), undefined)).toEqual({ a: 1 });
  expect(decode(new TextEncoder().encode('{"a":1}'), "application/json; charset=utf-8")).toEqual({ a: 1 });
});

test("the reply answers in kind, and in JSON to whoever sent a type we do not know", () => {
  expect(answerEncoding(undefined)).toBe("json");
  expect(answerEncoding("application/json")).toBe("json");
  expect(answerEncoding("text/plain")).toBe("json");
  expect(answerEncoding(CONTENT_TYPES.msgpack)).toBe("msgpack");
  expect(answerEncoding(SHARED_CONTENT_TYPE)).toBe("shared");
  expect(answerEncoding(`${CONTENT_TYPES.sharedMsgpack}; v=00000000`)).toBe("msgpack");
});

test("what is not what its Content-Type says gets a typed error that does not quote it", () => {
  const secret = new TextEncoder().encode('{"prompt":"my secret');
  let caught = new Error();
  try {
    decode(secret, undefined);
  } catch (error) {
    caught = error as Error;
  }
  expect(caught.message).toContain("not JSON");
  expect(caught.message).not.toContain("secret");
  expect(caught.cause).toBeUndefined();
  expect(codeOf(() => decode(Uint8Array.of(0xff, 0xfe), "application/json"))).toBe("bad_request");
  expect(codeOf(() => decode(encode(node, "msgpack").subarray(0, 40), CONTENT_TYPES.msgpack))).toBe("bad_request");
  expect(codeOf(() => decode(encode(node, "shared").subarray(0, 20), SHARED_CONTENT_TYPE))).toBe("bad_request");
  expect(codeOf(() => decode(new Uint8Array(), CONTENT_TYPES.msgpack))).toBe("bad_request");
  expect(codeOf(() => decode(secret, "text/plain"))).toBe("bad_request");
  expect(codeOf(() => decode(secret, `${CONTENT_TYPES.sharedMsgpack}; v=nonsense`))).toBe("bad_request");
});

test("no bytes make it throw anything but a typed error, and none change how the next message is read", () => {
  const good = encode(node, "shared");
  const nearlyGood = fc.tuple(fc.nat(good.length - 1), fc.nat(255)).map(([at, byte]) => good.with(at, byte));
  const bodies = fc.oneof(fc.uint8Array({ maxLength: 300 }), nearlyGood);
  fc.assert(
    fc.property(bodies, fc.constantFrom(...ENCODINGS), (body, encoding) => {
      expect(["bad_request", "decoded"]).toContain(codeOf(() => decode(body, contentType(encoding))));
      expect(decode(good, SHARED_CONTENT_TYPE)).toEqual(node);
    }),
    { numRuns: 3000 },
  );
});

test("a sender cannot redefine a shared structure for those who write after it", () => {
  // The same ids as ours, with other meanings, spelled out in the message.
  const attacker = new Packr({ useRecords: true, maxSharedStructures: 0 });
  const values = SHARED_STRUCTURES.map((keys) =>
    Object.fromEntries(keys.toReversed().map((key) => [`evil_${key}`, 1])),
  );
  const good = encode(node, "shared");
  for (let id = 0x40; id < 0x60; id++) {
    const definition = Buffer.concat([Buffer.from([0xd4, 0x72, id]), attacker.pack(["evil"]), Buffer.from([1])]);
    for (const body of [definition, attacker.pack(values)]) {
      codeOf(() => decode(body, SHARED_CONTENT_TYPE));
      expect(decode(good, SHARED_CONTENT_TYPE)).toEqual(node);
      expect(decode(encode(node, "shared"), SHARED_CONTENT_TYPE)).toEqual(node);
    }
  }
});

test("a body cannot build cyclic values or keep definitions beyond its own message", () => {
  const cyclic = new Packr({ structuredClone: true, useRecords: false });
  const value: Record<string, unknown> = {};
  value["self"] = value;
  const body = cyclic.pack(value);
  expect(codeOf(() => decode(body, CONTENT_TYPES.msgpack))).toBe("bad_request");
  expect(codeOf(() => decode(body, SHARED_CONTENT_TYPE))).toBe("bad_request");
  // Two-byte definition of record 33, then a use of it in another message.
  const definition = Buffer.concat([
    Buffer.from([0xd5, 0x72, 0x41, 0x01]),
    new Packr().pack(["evil"]),
    Buffer.from([1]),
  ]);
  expect(decode(definition, SHARED_CONTENT_TYPE)).toEqual({ evil: 1 });
  expect(codeOf(() => expect(decode(Uint8Array.of(0x41, 0x01, 1), SHARED_CONTENT_TYPE)).not.toEqual({ evil: 1 }))).toBe(
    "bad_request",
  );
});

test("a peer of another build is read once its table was learned, and ours cannot be replaced", () => {
  const table = [["b", "a"], ["x"]];
  const version = versionOfStructures(table);
  const type = `${CONTENT_TYPES.sharedMsgpack}; v=${version}`;
  const body = new Packr({ structures: table.map((keys) => [...keys]), maxSharedStructures: 2 }).pack({
    b: 1,
    a: { x: 2 },
  });
  expect(structuresVersion(type)).toBe(version);
  expect(codeOf(() => decode(body, type))).toBe("codec_unknown");
  learnStructures(version, table);
  expect(decode(body, type)).toEqual({ b: 1, a: { x: 2 } });
  learnStructures(structuresVersion(SHARED_CONTENT_TYPE) ?? "", table);
  expect(decode(encode(node, "shared"), SHARED_CONTENT_TYPE)).toEqual(node);
});
