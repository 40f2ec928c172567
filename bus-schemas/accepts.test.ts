import fc from "fast-check";
import { expect, test } from "vitest";
import { z } from "zod";
import { acceptsAsIs } from "./accepts.ts";
import { NodeRecord, Verdict } from "./index.ts";

const accepts = acceptsAsIs(NodeRecord);

/** A record with every key, as an agent sends it. */
const record = () =>
  NodeRecord.parse({
    node_id: "gpu-server-07",
    layer: "L1",
    status: "healthy",
    hostname: "gpu-server-07.example",
    boot_id: "01K9ZQ6V3M8N5T2R7W4X1Y0ABC",
    seq: 17,
    hardware: {
      gpus: [
        { name: "RTX 4090", utilization: 0.5, throttled: ["sw_power_cap"], processes: [{ pid: 7, vram_gb: 1.5 }] },
      ],
      sampled_at: { cpu: "2027-01-15T08:00:00.123Z" },
    },
    models: ["qwen2-7b"],
    served_models: [{ name: "qwen2-7b", runtime: "ollama", capabilities: ["chat"] }],
    runtimes: [{ name: "ollama", kind: "ollama", manages: ["load"] }],
    load: { slots: 2 },
    labels: { room: "2.17" },
    last_heartbeat: "2027-01-15T08:00:00+01:00",
  });

test("a record as agents send it is accepted as it is", () => {
  expect(accepts(record())).toBe(true);
});

/** All places of a value, as paths of keys. */
function places(value: unknown, path: string[] = []): string[][] {
  if (typeof value !== "object" || value === null) return [path];
  return [
    path,
    ...Object.keys(value).flatMap((key) => places((value as Record<string, unknown>)[key], [...path, key])),
  ];
}

/** The value with another one put, or nothing left, at a place. */
function changed(value: unknown, path: readonly string[], put: { value: unknown } | undefined): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return put?.value;
  const copy = Array.isArray(value) ? [...(value as unknown[])] : { ...(value as object) };
  const at = copy as Record<string, unknown>;
  if (rest.length === 0 && put === undefined) delete at[key];
  else at[key] = changed(at[key], rest, put);
  return copy;
}

const TEXTS = ["", "x".repeat(61), "x".repeat(201), "a.b", "L3", "2027-01-15", "2027-02-30T08:00:00Z", "ü", "\n"];
const NUMBERS = [0, -0, -1, 1, 1.5, 1e16, 2 ** 53, 2 ** 32, Number.NaN, Infinity, -60.1, 250.1, 1_048_577];
const LISTS = [[], [null], [{}], Array.from({ length: 33 }, () => "chat"), Object.assign([], { length: 2 })];
const OBJECTS = [{}, { "": "" }, { ["k".repeat(61)]: "v" }, { k: 1 }, JSON.parse('{"__proto__":{"a":"b"}}') as unknown];
const OTHERS = [undefined, null, true, 10n, new Date(0), new Map([["a", "b"]]), Object.create(null) as unknown];
const TRICKY: readonly unknown[] = [...TEXTS, ...NUMBERS, ...LISTS, ...OBJECTS, ...OTHERS];

test("it never accepts what the schema refuses or changes: at every place every tricky value", () => {
  for (const path of places(record()))
    for (const value of [...TRICKY.map((each) => ({ value: each })), undefined])
      expectHonest(changed(record(), path, value));
});

test("it never accepts what the schema refuses or changes: values by chance, several at once, and keys more or in another order", () => {
  const all = places(record());
  const change = fc.record({
    place: fc.nat(all.length - 1),
    put: fc.option(
      fc.record({ value: fc.oneof(fc.anything(), fc.constantFrom(...TRICKY), fc.string(), fc.double()) }),
      {
        nil: undefined,
      },
    ),
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 3 }), fc.boolean(), fc.boolean(), (changes, more, turned) => {
      let value: unknown = record();
      for (const { place, put } of changes) value = changed(value, all[place] ?? [], put);
      if (more && typeof value === "object" && value !== null) value = { ...value, more: 1 };
      if (turned && typeof value === "object" && value !== null)
        value = Object.fromEntries(Object.entries(value).toReversed());
      expectHonest(value);
    }),
    { numRuns: 3000 },
  );
});

function expectHonest(value: unknown): void {
  if (!accepts(value)) return;
  const parsed = NodeRecord.safeParse(value);
  expect(parsed.error).toBeUndefined();
  expect(parsed.data).toStrictEqual(value);
  expect(JSON.stringify(parsed.data)).toBe(JSON.stringify(value));
}

test.each([
  ["a change of the value", z.object({ a: z.string().transform((text) => text.length) }), { a: "x" }],
  ["a trimmed text", z.object({ a: z.string().trim() }), { a: "x" }],
  ["a coerced number", z.object({ a: z.coerce.number() }), { a: 1 }],
  ["a rule of one's own", z.object({ a: z.string() }).refine(() => false), { a: "x" }],
  ["a strict object", z.strictObject({ a: z.string() }), { a: "x" }],
  ["a format", z.object({ a: z.email() }), { a: "a@b.de" }],
  ["a choice of schemas", Verdict, {}],
])("of %s, which it does not know, it is never true", (_what, schema, value) => {
  expect(acceptsAsIs(schema)(value)).toBe(false);
});
