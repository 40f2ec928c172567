import { existsSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { tempDir } from "../../../test/kit/temp-dir.ts";
import { loadKoffi, loadNative, writtenOnce } from "./koffi.ts";

const { platform, arch } = process;
const PACKAGES = path.join(import.meta.dirname, "../../../node_modules/@koromix");
const BINARY = path.join(PACKAGES, `koffi-${platform}-${arch}`, `${platform}_${arch}`, "koffi.node");

test.skipIf(!existsSync(BINARY))(
  "the binary of a single executable is written once, for its owner alone, and calls libraries",
  () => {
    const root = tempDir("tiermesh-native-");
    onTestFinished(() => root.remove());
    const dir = path.join(root.path, "native");
    const bytes = readFileSync(BINARY);
    const koffi = loadNative(dir, bytes);
    const self = koffi.load(null);
    expect(self.func("strlen", "size_t", ["str"])("four")).toBe(4);
    const [name = ""] = readdirSync(dir);
    const file = path.join(dir, name);
    expect([statSync(dir).mode & 0o777, statSync(file).mode & 0o777]).toEqual([0o700, 0o500]);
    const { ino } = statSync(file);
    loadNative(dir, bytes);
    expect(statSync(file).ino).toBe(ino);
  },
);

test("a file that somebody has put in its place, or cut off, is written anew", () => {
  const root = tempDir("tiermesh-native-");
  onTestFinished(() => root.remove());
  const bytes = Buffer.from("a library");
  const file = writtenOnce(root.path, bytes);
  for (const other of ["evil", ""]) {
    rmSync(file);
    writeFileSync(file, other);
    expect(writtenOnce(root.path, bytes)).toBe(file);
    expect(readFileSync(file)).toEqual(bytes);
  }
  expect(readdirSync(root.path)).toHaveLength(1);
});

test("from source it is the package", async () => {
  expect(await loadKoffi("/not/used")).toHaveProperty("load");
});
