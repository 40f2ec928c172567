import { writeFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { MeshError } from "../../bus-schemas/index.ts";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { MissingStorageKey, NO_KEYS, StorageKeys, newStorageKey, readStorageKeys, sealedBy } from "./storage-keys.ts";

const FILE = "TIERMESH_AUDIT_STORAGE_KEY_FILE";
const TEXT = "TIERMESH_AUDIT_STORAGE_KEY";

test("a key is the same in base64, base64url and hex, and the first of several is written with", () => {
  const text = newStorageKey();
  const bytes = Buffer.from(text, "base64url");
  const forms = [text, bytes.toString("base64"), bytes.toString("hex")].map((form) => new StorageKeys([form]));
  expect(new Set(forms.map(({ ids }) => ids[0])).size).toBe(1);
  const [old, both] = [new StorageKeys([text]), new StorageKeys([newStorageKey(), text])];
  const sealed = Buffer.from(old.seal(Buffer.from("entry"), "tile/entries/000"));
  expect(both.open(sealed, "tile/entries/000")?.toString()).toBe("entry");
  expect(sealedBy(Buffer.from(both.seal(Buffer.from("entry"), "a")))).toBe(both.ids[0]);
  expect(both.open(sealed, "tile/entries/001")).toBeUndefined();
  expect(() => NO_KEYS.open(sealed, "tile/entries/000")).toThrow(MissingStorageKey);
  expect(NO_KEYS.open(Buffer.from("plain"), "a")?.toString()).toBe("plain");
});

test("keys come from the environment, a file that it names, or the one in the state folder", async () => {
  await using dir = tempDir();
  const [one, two] = [newStorageKey(), newStorageKey()];
  expect(readStorageKeys({}, dir.path).current).toBeUndefined();
  writeFileSync(path.join(dir.path, "audit-storage-key"), `# of the log\n${one}\n\n${two}\n`);
  const kept = readStorageKeys({}, dir.path);
  expect(kept.ids).toEqual(new StorageKeys([one, two]).ids);
  expect(readStorageKeys({ [TEXT]: `${two}, ${one}` }, dir.path).ids).toEqual(kept.ids.toReversed());
  writeFileSync(path.join(dir.path, "other"), two);
  expect(readStorageKeys({ [FILE]: path.join(dir.path, "other") }, dir.path).ids).toEqual(kept.ids.slice(1));
});

test("what is no key is refused by name, and not quoted", async () => {
  await using dir = tempDir();
  const file = path.join(dir.path, "audit-storage-key");
  const problem = (env: Record<string, string>) => {
    try {
      readStorageKeys(env, dir.path);
    } catch (error) {
      const { code, message } = MeshError.from(error);
      return `${code}: ${message}`;
    }
    return "none";
  };
  expect(problem({ [FILE]: path.join(dir.path, "gone") })).toContain("is not there");
  expect(problem({ [FILE]: file, [TEXT]: newStorageKey() })).toContain("not together");
  const key = newStorageKey();
  expect(problem({ [TEXT]: `${key} ${key}` })).toContain("twice");
  for (const text of ["", "# nothing\n", `${key}\nsecret-but-no-key\n`, key.slice(1), `${"zz".repeat(32)}`]) {
    writeFileSync(file, text);
    expect(problem({})).toMatch(/^bad_config: \S+audit-storage-key: (holds no storage key|key \d is not 32 bytes)/);
    expect(problem({})).not.toContain("secret-but-no-key");
  }
});
