import { generateKeyPairSync } from "node:crypto";
import { expect, test } from "vitest";
import { checkPublicKey, newSigningKeys, readSignature, writeSignature, type Statement } from "./release-signature.ts";

const KEYS = newSigningKeys();
const statement: Statement = {
  v: 1,
  product: "tiermesh-agent",
  version: "1.2.3",
  platform: "linux",
  arch: "x64",
  bytes: 5,
  sha256: "a".repeat(64),
};

test("what was signed comes back, by the signer's key alone", () => {
  const text = writeSignature(statement, KEYS.privateKeyPem);
  expect(readSignature(text, KEYS.publicKeyPem)).toEqual(statement);
  expect(() => readSignature(text, newSigningKeys().publicKeyPem)).toThrow("not made by the key");
});

test("any changed byte of the statement or the signature is seen", () => {
  const file = JSON.parse(writeSignature(statement, KEYS.privateKeyPem)) as { statement: string; signature: string };
  for (let at = 0; at < file.statement.length; at++) {
    const changed = `${file.statement.slice(0, at)}${file.statement[at] === "1" ? "2" : "1"}${file.statement.slice(at + 1)}`;
    expect(() => readSignature(JSON.stringify({ ...file, statement: changed }), KEYS.publicKeyPem)).toThrow();
  }
  const other = `${file.signature[0] === "A" ? "B" : "A"}${file.signature.slice(1)}`;
  expect(() => readSignature(JSON.stringify({ ...file, signature: other }), KEYS.publicKeyPem)).toThrow("not made by");
});

test.each([
  ["nothing", ""],
  ["no JSON", "tmjoin_x"],
  ["another JSON", '{"statement":1}'],
  ["a signature of another length", JSON.stringify({ statement: "{}", signature: "AAAA" })],
  ["a flood", JSON.stringify({ statement: "x".repeat(20_000), signature: "" })],
])("%s is no signature, and is answered with what is wrong", (_, text) => {
  expect(() => readSignature(text, KEYS.publicKeyPem)).toThrow(
    expect.objectContaining({ code: "bad_config", field: "signature" }),
  );
});

test("a key of another kind, and a private one where a public one belongs, are refused without being quoted", () => {
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const pem = rsa.publicKey.export({ type: "spki", format: "pem" }).toString();
  expect(() => checkPublicKey(pem)).toThrow("no public Ed25519 key");
  expect(() => checkPublicKey("hello")).toThrow("no public Ed25519 key");
  expect(() => checkPublicKey(KEYS.privateKeyPem)).toThrow(/private key; only its public half belongs here$/);
  expect(() => writeSignature(statement, KEYS.publicKeyPem)).toThrow("no private Ed25519 key");
  expect(() => writeSignature({ ...statement, sha256: "short" }, KEYS.privateKeyPem)).toThrow();
});
