import { readFile, readdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterEach, expect, test } from "vitest";
import { tempDir, type TempDir } from "../../test/kit/temp-dir.ts";
import { DISK, type Disk } from "./files.ts";
import { generatePrivateKey, parsePrivateKey, parseVerifierKey } from "./keys.ts";
import { MINIMUM_INDEX_FILE, pruneTiles, readMinimumIndex } from "./minimum-index.ts";
import { checkProof, formatProof, parseProof } from "./proof.ts";
import { TileReader } from "./reader.ts";
import { consistencyProof, inclusionProof, isConsistent, rootOf } from "./tree.ts";
import { verifyLog } from "./verify.ts";
import { TlogWriter } from "./writer.ts";

const signer = parsePrivateKey(generatePrivateKey(() => "example.org/log"));
const key = parseVerifierKey(signer.verifierKey);
const folders: TempDir[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await folder.remove();
});

const entries = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => Buffer.from(`e${from + i}`));

async function logOf(size: number): Promise<{ dir: string; writer: TlogWriter }> {
  const folder = tempDir("tiermesh-pruned-");
  folders.push(folder);
  const writer = await TlogWriter.open(folder.path, signer);
  for (let at = 0; at < size; at += 16_384) await writer.append(entries(at, Math.min(size, at + 16_384)));
  return { dir: folder.path, writer };
}

const proofOf = async (dir: string, index: number, size: number) => {
  const hashes = inclusionProof(index, size, new TileReader(dir, size).subtrees);
  const checkpoint = await readFile(path.join(dir, "checkpoint"), "utf8");
  return formatProof({ entry: Buffer.from(`e${index}`), index, hashes, checkpoint });
};

test("a pruned log verifies from its first entry on, old proofs stay good, and new ones of what is there are made", async () => {
  const size = 66_300;
  const { dir } = await logOf(size);
  const before = await Promise.all([0, 255, 256, 65_535, 66_299].map((index) => proofOf(dir, index, size)));
  const bytesOf = async () => (await readdir(dir, { recursive: true })).length;
  const all = await bytesOf();
  for (const minimum of [256, 512, 65_536, 65_792]) {
    await pruneTiles(dir, minimum);
    expect(readMinimumIndex(dir)).toBe(minimum);
    expect(verifyLog(dir, key)).toMatchObject({ problems: [], minimum, checkpoint: { size } });
    for (const index of [minimum, minimum + 300, size - 1])
      expect(checkProof(parseProof(await proofOf(dir, index, size)), key)).toMatchObject({ size });
    const { subtrees } = new TileReader(dir, size);
    for (const old of [minimum + 1, minimum + 256, size - 1]) {
      const heads = [old, size].map((one) => ({ size: one, root: rootOf(one, subtrees) }));
      expect(isConsistent(heads[0]!, heads[1]!, consistencyProof(old, size, subtrees))).toBe(true);
    }
  }
  expect(await bytesOf()).toBeLessThan(all / 20);
  for (const proof of before) expect(checkProof(parseProof(proof), key)).toMatchObject({ size });
  const again = await TlogWriter.open(dir, signer);
  await again.append(entries(size, size + 1000));
  expect(verifyLog(dir, key)).toMatchObject({ problems: [], checkpoint: { size: size + 1000 } });
});

test("an entry or tile that is missing though it should be there is still found, and so is one that was changed", async () => {
  const { dir } = await logOf(1500);
  await pruneTiles(dir, 512);
  for (const name of ["tile/entries/002", "tile/0/002", "tile/1/000.p/5"]) {
    const file = path.join(dir, name);
    const good = await readFile(file);
    await DISK.remove(file);
    expect(verifyLog(dir, key).problems).not.toEqual([]);
    await writeFile(file, good.with(9, good[9]! ^ 1));
    expect(verifyLog(dir, key).problems).not.toEqual([]);
    await writeFile(file, good);
  }
  expect(verifyLog(dir, key).problems).toEqual([]);
});

test("a checkpoint of what was pruned can no longer be compared, and that is said; a later one can", async () => {
  const { dir, writer } = await logOf(300);
  const old = await readFile(path.join(dir, "checkpoint"));
  await writer.append(entries(300, 900));
  const later = await readFile(path.join(dir, "checkpoint"));
  await writer.append(entries(900, 1200));
  await pruneTiles(dir, 512);
  expect(verifyLog(dir, key, { kept: [old, later] }).problems).toEqual([
    { file: "kept checkpoint", what: "is of the first 300 entries, which were pruned since: keep a newer one" },
  ]);
});

test("a minimum index that nothing in the log speaks of, that is too large or none, is a finding", async () => {
  const { dir } = await logOf(1500);
  await pruneTiles(dir, 512);
  const says = (upTo: number) => (entry: Uint8Array) => (Buffer.from(entry).toString() === "e1400" ? upTo : undefined);
  expect(verifyLog(dir, key, { prunedUpTo: says(512) }).problems).toEqual([]);
  expect(verifyLog(dir, key, { prunedUpTo: says(256) }).problems).toEqual([
    { file: MINIMUM_INDEX_FILE, what: "no entry of the log says that those before 512 were pruned" },
  ]);
  for (const text of ["2048\n", "1\n", "512", "-256\n", "x\n", ""]) {
    await writeFile(path.join(dir, MINIMUM_INDEX_FILE), text);
    expect(verifyLog(dir, key).problems.map(({ file }) => file)).toContain(MINIMUM_INDEX_FILE);
  }
  // Taking the number away does not bring the entries back.
  await DISK.remove(path.join(dir, MINIMUM_INDEX_FILE));
  expect(verifyLog(dir, key).problems).toContainEqual({ file: "tile/entries/000", what: "missing" });
});

test("pruning that fails at any step leaves a log that verifies, and the next one removes what was left", async () => {
  for (let at = 1; at <= 12; at++) {
    const { dir } = await logOf(1500);
    let steps = 0;
    const step = <T>(work: () => Promise<T>) =>
      ++steps < at ? work() : Promise.reject(Object.assign(new Error("no power"), { code: "EIO" }));
    const disk: Disk = {
      ...DISK,
      write: (file, data, mode) => step(() => DISK.write(file, data, mode)),
      rename: (from, to) => step(() => DISK.rename(from, to)),
      remove: (place) => step(() => DISK.remove(place)),
    };
    await pruneTiles(dir, 768, disk).catch(() => undefined);
    expect(verifyLog(dir, key).problems).toEqual([]);
    await pruneTiles(dir, 1024);
    expect(verifyLog(dir, key)).toMatchObject({ problems: [], minimum: 1024 });
    expect(await readdir(path.join(dir, "tile", "entries"))).toEqual(["004", "005.p"]);
    expect(await readdir(path.join(dir, "tile", "0"))).toEqual(["004", "005.p"]);
  }
});
