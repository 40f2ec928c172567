import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { treeOf } from "../../test/kit/fake-machine.ts";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { folder, forgetUndo, programFile, textFile } from "./files.ts";

function here(): string {
  const made = tempDir("tiermesh-files-");
  onTestFinished(() => made.remove());
  return made.path;
}

const mode = (file: string) => statSync(file).mode & 0o7777;

test("a file is written with its rights, once, and the undo takes away it and the folders that were made for it", async () => {
  const root = here();
  const file = path.join(root, "a/b/file");
  const step = textFile({ name: "unit", file, mode: 0o600, text: "x" });
  const undo = await step.take();
  expect([readFileSync(file, "utf8"), mode(file)]).toEqual(["x", 0o600]);
  expect(await step.take()).toBeUndefined();
  await undo?.();
  expect(treeOf(root)).toEqual([]);
});

test("other content or other rights are put right, and the undo brings both back", async () => {
  const file = path.join(here(), "file");
  writeFileSync(file, "before");
  chmodSync(file, 0o666);
  const undo = await textFile({ name: "unit", file, mode: 0o644, text: "after" }).take();
  expect([readFileSync(file, "utf8"), mode(file)]).toEqual(["after", 0o644]);
  await undo?.();
  expect([readFileSync(file, "utf8"), mode(file)]).toEqual(["before", 0o666]);
});

test("a program replaces another one whole; its undo brings that one back, and nothing of it stays when it is forgotten", async () => {
  const root = here();
  const [file, from] = [path.join(root, "program"), path.join(root, "from")];
  writeFileSync(file, "old", { mode: 0o755 });
  writeFileSync(from, "new");
  const before = treeOf(root);
  const step = programFile({ name: "program", file, mode: 0o755, from });
  const undo = await step.take();
  expect(readFileSync(file, "utf8")).toBe("new");
  expect(await step.take()).toBeUndefined();
  await undo?.();
  expect(treeOf(root)).toEqual(before);
  await step.take();
  await forgetUndo(file);
  expect(readFileSync(file, "utf8")).toBe("new");
  expect(existsSync(`${file}.undo`)).toBe(false);
});

test("what an earlier try left where the new file is written, a link to elsewhere included, is not written through", async () => {
  const root = here();
  const [file, elsewhere] = [path.join(root, "file"), path.join(root, "elsewhere")];
  writeFileSync(elsewhere, "not ours");
  symlinkSync(elsewhere, `${file}.new`);
  await textFile({ name: "unit", file, mode: 0o644, text: "ours" }).take();
  expect([readFileSync(elsewhere, "utf8"), readFileSync(file, "utf8")]).toEqual(["not ours", "ours"]);
});

test("a folder that is there keeps what is in it and gets its rights; one that was made goes with what came into it", async () => {
  const root = here();
  const [old, fresh] = [path.join(root, "old"), path.join(root, "x/fresh")];
  mkdirSync(old, { mode: 0o755 });
  writeFileSync(path.join(old, "kept"), "");
  const undoOld = await folder("state", old, 0o700).take();
  const undoFresh = await folder("state", fresh, 0o700).take();
  writeFileSync(path.join(fresh, "key"), "");
  expect([mode(old), mode(fresh)]).toEqual([0o700, 0o700]);
  await undoFresh?.();
  await undoOld?.();
  expect([mode(old), existsSync(path.join(old, "kept")), existsSync(path.join(root, "x"))]).toEqual([
    0o755,
    true,
    false,
  ]);
});
