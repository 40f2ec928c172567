import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { createAccount } from "@nats-io/nkeys";
import { expect, onTestFinished, test } from "vitest";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { keptNkey, newUserNkey, readNkeyFile, userNkeyOf, writeNkeyFile } from "./nkey-file.ts";

function file(): string {
  const folder = tempDir("tiermesh-nkey-");
  onTestFinished(() => folder.remove());
  return path.join(folder.path, "bus.nk");
}

test("a key is made once and read back the same, with its public half and its inbox", () => {
  const one = file();
  const made = keptNkey(one);
  expect(made.publicKey).toMatch(/^U[A-Z2-7]{55}$/);
  expect(made.inbox).toBe(`_INBOX.own.${made.publicKey.slice(1, 17)}`);
  expect(keptNkey(one)).toEqual(made);
  expect(readNkeyFile(one)).toEqual(made);
  expect(newUserNkey().publicKey).not.toBe(made.publicKey);
});

test.skipIf(process.platform === "win32")("only its owner may read it, also when others could before", () => {
  const one = file();
  keptNkey(one);
  expect(statSync(one).mode & 0o777).toBe(0o600);
  chmodSync(one, 0o644);
  keptNkey(one);
  expect(statSync(one).mode & 0o777).toBe(0o600);
});

test("a key that is there is never written over", () => {
  const one = file();
  const { publicKey } = keptNkey(one);
  expect(() => writeNkeyFile(one, newUserNkey())).toThrow(/EEXIST/);
  expect(readNkeyFile(one).publicKey).toBe(publicKey);
});

const seed = new TextDecoder().decode(newUserNkey().seed);
test.each([
  ["an empty file", ""],
  ["half a seed", seed.slice(0, 30)],
  ["a seed with one character changed", seed.slice(0, 20) + (seed[20] === "A" ? "B" : "A") + seed.slice(21)],
  ["an account's seed", new TextDecoder().decode(createAccount().getSeed())],
  ["a public key", newUserNkey().publicKey],
  ["a password", "correct horse battery staple"],
  ["two seeds", `${seed}\n${seed}`],
])("%s is refused by the file's name, unquoted and unchanged", (_, content) => {
  const one = file();
  writeFileSync(one, content);
  for (const read of [readNkeyFile, keptNkey]) {
    let caught: unknown;
    try {
      read(one);
    } catch (error) {
      caught = error;
    }
    expect(caught).toMatchObject({ code: "bad_config", message: expect.stringContaining(one) });
    const { message, stack = "" } = caught as Error;
    expect(message + stack).not.toContain(content.slice(0, 12) || "nothing to quote");
  }
  expect(readFileSync(one, "utf8")).toBe(content);
});

test("a file that is not there or cannot be read is told by name and reason", () => {
  const one = file();
  expect(() => readNkeyFile(one)).toThrow(`the key file ${one} cannot be read (ENOENT)`);
  mkdirSync(one);
  expect(() => readNkeyFile(one)).toThrow(`the key file ${one} cannot be read (EISDIR)`);
});

test("a seed from elsewhere may have white space around it", () => {
  expect(userNkeyOf(` ${seed}\n`, "the token").publicKey).toBe(userNkeyOf(seed, "the token").publicKey);
  expect(() => userNkeyOf("SUnothing", "the token")).toThrow(/^the token: /);
});
