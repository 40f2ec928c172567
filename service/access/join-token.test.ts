import { expect, test } from "vitest";
import { readJoinToken, writeJoinToken, type JoinToken } from "./join-token.ts";
import { newUserNkey } from "./nkey-file.ts";

const seed = new TextDecoder().decode(newUserNkey().seed);
const TOKEN: JoinToken = {
  v: 1,
  urls: ["nats://10.0.0.5:4222"],
  cell: "main",
  node: "gpu-1",
  layer: "L1",
  seed,
  expires_unix_ms: Date.parse("2026-11-26"),
  ca_pem: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
};
const encode = (body: unknown) => `tmjoin_${Buffer.from(JSON.stringify(body)).toString("base64url")}`;

test("a token is read as it was written, with white space around it or without", () => {
  const text = writeJoinToken(TOKEN);
  expect(text).toMatch(/^tmjoin_[A-Za-z0-9_-]+$/);
  expect(readJoinToken(text)).toEqual(TOKEN);
  expect(readJoinToken(`  ${text}\n`)).toEqual(TOKEN);
});

const whole = writeJoinToken(TOKEN);
test.each([
  ["nothing", "", "does not begin with tmjoin_"],
  ["another kind of secret", `sk-${seed}`, "does not begin with tmjoin_"],
  ["the seed alone", seed, "does not begin with tmjoin_"],
  ["half a token", whole.slice(0, -40), "cut short or changed"],
  ["a token that is no JSON", "tmjoin_AAAA", "cut short or changed"],
  ["a token of 40,000 characters", `tmjoin_${"A".repeat(40_000)}`, "does not begin"],
  ["null", encode(null), "content is not valid"],
  ["another version", encode({ ...TOKEN, v: 2 }), "its v is not valid"],
  ["no address", encode({ ...TOKEN, urls: [] }), "its urls is not valid"],
  ["a node that is none", encode({ ...TOKEN, node: "a.b" }), "its node is not valid"],
  ["a cell that is none", encode({ ...TOKEN, cell: "*" }), "its cell is not valid"],
  ["a layer that is none", encode({ ...TOKEN, layer: "L3" }), "its layer is not valid"],
  ["a public key for a seed", encode({ ...TOKEN, seed: newUserNkey().publicKey }), "its seed is not valid"],
  ["a time that is none", encode({ ...TOKEN, expires_unix_ms: "soon" }), "its expires_unix_ms is not valid"],
])("%s is refused with the reason, and nothing of it is quoted", (_, text, reason) => {
  const caught = (() => {
    try {
      return readJoinToken(text);
    } catch (error) {
      return error as Error;
    }
  })();
  expect(caught).toMatchObject({ code: "bad_config", field: "join" });
  const { message, stack = "" } = caught as Error;
  expect(message).toContain(reason);
  for (const secret of [seed, text.slice(7, 60)].filter((part) => part.length > 8))
    expect(message + stack + JSON.stringify(caught)).not.toContain(secret);
});
