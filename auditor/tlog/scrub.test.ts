import { copyFile, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterEach, expect, test } from "vitest";
import { tempDir, type TempDir } from "../../test/kit/temp-dir.ts";
import { generatePrivateKey, parsePrivateKey } from "./keys.ts";
import { pruneTiles } from "./minimum-index.ts";
import { Scrubber } from "./scrub.ts";
import { TlogWriter } from "./writer.ts";

const signer = parsePrivateKey(generatePrivateKey(() => "example.org/log"));
const folders: TempDir[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await folder.remove();
});

async function logOf(size: number) {
  const folder = tempDir("tiermesh-scrub-");
  folders.push(folder);
  const writer = await TlogWriter.open(folder.path, signer);
  await writer.append(Array.from({ length: size }, (_, i) => Buffer.from(`e${i}`)));
  return { dir: folder.path, at: (name: string) => path.join(folder.path, name), head: writer.covered };
}

test("damage anywhere is found within one round, and is no longer damage when the file is back", async () => {
  const { at, dir, head } = await logOf(6000);
  const scrubber = new Scrubber(dir);
  const round = () => [0, 1, 2].flatMap(() => scrubber.look(head));
  expect(round()).toEqual([]);
  for (const name of ["tile/entries/000", "tile/entries/017", "tile/0/020", "tile/entries/023.p/112"]) {
    const good = await readFile(at(name));
    await writeFile(at(name), good.with(40, good[40]! ^ 4));
    expect(round().map(({ file }) => file)).toContain(name);
    expect(round()).toEqual([]);
    await rm(at(name));
    round();
    expect(scrubber.damaged).toContainEqual({ file: name, what: "missing" });
    await writeFile(at(name), good);
    round();
    expect(scrubber.damaged).toEqual([]);
  }
});

test("a bundle that was swapped together with its tile is seen by the tile above, and a changed top by the root", async () => {
  const { at, dir, head } = await logOf(6000);
  for (const level of ["entries", "0"]) await copyFile(at(`tile/${level}/003`), at(`tile/${level}/004`));
  const scrubber = new Scrubber(dir);
  expect(scrubber.look(head)).toEqual([{ file: "tile/0/004", what: "was changed" }]);
  const top = await readFile(at("tile/1/000.p/23"));
  await writeFile(at("tile/1/000.p/23"), top.with(0, top[0]! ^ 1));
  expect(scrubber.look(head)).toContainEqual({ file: "checkpoint", what: "the tiles no longer lead to its root" });
});

test("what was pruned is not missed", async () => {
  const { dir, head } = await logOf(6000);
  await pruneTiles(dir, 512);
  const scrubber = new Scrubber(dir);
  for (let i = 0; i < 3; i++) expect(scrubber.look(head)).toEqual([]);
});
