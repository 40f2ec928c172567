import { existsSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { changeStorageKey, forgetFormerKey, keptStorageKey } from "./storage-key.ts";

let folder: ReturnType<typeof tempDir>;
beforeEach(() => void (folder = tempDir("tiermesh-key-")));
afterEach(() => folder.remove());

const file = (name: string) => path.join(folder.path, name);

test("a key is made once and stays", () => {
  const first = keptStorageKey(folder.path);
  expect(first.key).toMatch(/^[A-Za-z0-9_-]{43}$/);
  expect(keptStorageKey(folder.path)).toEqual(first);
});

test.skipIf(process.platform === "win32")("the key is its owner's alone", () => {
  keptStorageKey(folder.path);
  expect(statSync(file("storage-key")).mode & 0o777).toBe(0o600);
});

test("a change keeps the former key until the server has read everything", () => {
  const { key } = keptStorageKey(folder.path);
  changeStorageKey(folder.path);
  const changed = keptStorageKey(folder.path);
  expect(changed).toMatchObject({ former: key });
  expect(changed.key).not.toBe(key);
  expect(() => changeStorageKey(folder.path)).toThrow(/start it first/);
  forgetFormerKey(folder.path);
  expect(keptStorageKey(folder.path)).toEqual({ key: changed.key, former: undefined });
});

test("a change that was cut off in the middle leaves the key that everything is stored by", () => {
  const { key } = keptStorageKey(folder.path);
  renameSync(file("storage-key"), file("storage-key.former"));
  expect(keptStorageKey(folder.path)).toEqual({ key, former: undefined });
  expect(existsSync(file("storage-key.former"))).toBe(false);
});

test("a file that holds no key is named and not quoted, and never replaced", () => {
  keptStorageKey(folder.path);
  rmSync(file("storage-key"));
  writeFileSync(file("storage-key"), "hunter2");
  expect(() => keptStorageKey(folder.path)).toThrow(/storage-key does not hold a storage key/);
  expect(() => keptStorageKey(folder.path)).not.toThrow(/hunter2/);
  expect(readFileSync(file("storage-key"), "utf8")).toBe("hunter2");
});
