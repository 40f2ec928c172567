import { expect, test } from "vitest";
import { CHANNELS, CHANNEL_PARAMETERS, asyncapi, subjects, type DataClass, type Layer } from "./index.ts";

const s = subjects("cell");
/** Addresses as `subjects()` spells them, with the same word in each place. */
const words = { layer: "L1" as Layer, class: "P1" as DataClass, token: "tok" };

function filled(address: string): string {
  return address
    .replace("{cell}", "cell")
    .replace("{layer}", words.layer)
    .replace("{class}", words.class)
    .replace(/\{\w+\}/g, words.token);
}

test("every subject that can be spelled has its line in the contract, and no line is made up", () => {
  const call: Record<string, () => string> = {
    heartbeat: () => s.heartbeat(words.layer, words.token),
    run: () => s.run(words.class, words.token),
    sealed: () => s.sealed(words.class, words.token),
    runs: () => s.runs(words.class, words.token),
    event: () => s.event(words.token, words.class, words.token, words.token),
  };
  const spelled = Object.entries(s)
    .filter(([, value]) => typeof value !== "string" || !/[*>]/.test(value))
    .filter(
      ([name]) =>
        ![
          "prefix",
          "auditStream",
          "jobStreams",
          "releaseStream",
          "releaseChunks",
          "policyBucket",
          "qualityBucket",
          "nodesBucket",
          "sleepBucket",
          "auditorBucket",
          "verdicts",
          "works",
          "eventsOf",
        ].includes(name),
    )
    .map(
      ([name, value]) =>
        call[name]?.() ??
        (typeof value === "string"
          ? value
          : (value as (...parts: string[]) => string)(words.token, words.token, words.token)),
    );
  expect(CHANNELS.map(({ address }) => filled(address)).toSorted()).toEqual([...new Set(spelled)].toSorted());
});

test("each place in an address is explained, and each explanation is used", () => {
  const used = CHANNELS.flatMap(({ address }) => [...address.matchAll(/\{(\w+)\}/g)].map((match) => String(match[1])));
  expect([...new Set(used)].toSorted()).toEqual(Object.keys(CHANNEL_PARAMETERS).toSorted());
});

interface Document {
  asyncapi: string;
  channels: Record<
    string,
    { address: string | null; parameters?: Record<string, unknown>; messages?: Record<string, { $ref: string }> }
  >;
  operations: Record<string, { action: string; channel: { $ref: string }; reply?: { channel: { $ref: string } } }>;
  components: { messages: Record<string, { payload: unknown }> };
}

test("the AsyncAPI document refers only to what it holds, and is plain JSON", () => {
  const document = asyncapi("1.2.3") as unknown as Document;
  expect(JSON.parse(JSON.stringify(document))).toEqual(document);
  expect(document.asyncapi).toBe("3.0.0");
  const resolve = (ref: string) =>
    ref
      .slice(2)
      .split("/")
      .reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], document);
  const refs = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map((match) => match[1] ?? "");
  expect(refs.length).toBeGreaterThan(20);
  for (const ref of refs) expect([ref, typeof resolve(ref)]).toEqual([ref, "object"]);
  for (const { address, parameters = {} } of Object.values(document.channels)) {
    const places = [...(address ?? "").matchAll(/\{(\w+)\}/g)].map((match) => String(match[1]));
    expect(Object.keys(parameters).toSorted()).toEqual(places.toSorted());
  }
  for (const { action } of Object.values(document.operations)) expect(action).toBe("send");
});
