import { cp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { tempDir, type TempDir } from "../../test/kit/temp-dir.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { DISK, type Disk } from "./files.ts";
import { leafHash } from "./hash.ts";
import { generatePrivateKey, parsePrivateKey, parseVerifierKey } from "./keys.ts";
import { checkProof, formatProof, parseProof, type TlogProof } from "./proof.ts";
import { TileReader } from "./reader.ts";
import { inclusionProof, perfectRoot, rootOf } from "./tree.ts";
import { verifyLog } from "./verify.ts";
import { TlogWriter } from "./writer.ts";

const signer = parsePrivateKey(generatePrivateKey((unique) => `example.org/${unique}`));
const key = parseVerifierKey(signer.verifierKey);
const folders: TempDir[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await folder.remove();
});

function folder(): string {
  const dir = tempDir("tiermesh-tlog-");
  folders.push(dir);
  return dir.path;
}

const entry = (i: number, kind = "entry") => Buffer.from(JSON.stringify({ i, kind, pad: "x".repeat(i % 7) }));
const entries = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => entry(from + i));

/** A log of so many entries, written in batches of `batch`. */
async function logOf(size: number, batch = size): Promise<string> {
  const dir = folder();
  const log = await TlogWriter.open(dir, signer);
  for (let at = 0; at < size; at += batch) await log.append(entries(at, Math.min(size, at + batch)));
  return dir;
}

const checkpointOf = async (dir: string) => openCheckpoint(await readFile(path.join(dir, "checkpoint")), key);

function rootOfEntries(size: number): Uint8Array {
  const leaves = entries(0, size).map(leafHash);
  return rootOf(size, (height, index) => perfectRoot(leaves.slice(index * 2 ** height, (index + 1) * 2 ** height)));
}

async function expectWhole(dir: string, size: number): Promise<void> {
  expect(verifyLog(dir, key)).toMatchObject({ problems: [], checkpoint: { size } });
  expect(Buffer.from((await checkpointOf(dir)).root)).toEqual(Buffer.from(rootOfEntries(size)));
}

test("a log has the root of its entries, in whatever batches they came and however often it was opened again", async () => {
  const batches = fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(batches, fc.boolean(), async (sizes, reopen) => {
      const dir = folder();
      let log = await TlogWriter.open(dir, signer);
      let size = 0;
      for (const batch of sizes) {
        if (reopen) log = await TlogWriter.open(dir, signer);
        await log.append(entries(size, size + batch));
        size += batch;
        expect(log.size).toBe(size);
        expect(await log.lastEntry()).toEqual(size === 0 ? undefined : entry(size - 1));
      }
      await expectWhole(dir, size);
    }),
    { numRuns: 25 },
  );
});

test("three levels of tiles are written and read, and full tiles have no partial form left", async () => {
  const dir = await logOf(65_536 + 300, 16_384);
  await expectWhole(dir, 65_836);
  expect(await readdir(path.join(dir, "tile"))).toEqual(["0", "1", "2", "entries"]);
  expect(await readdir(path.join(dir, "tile", "2"))).toEqual(["000.p"]);
  const again = await TlogWriter.open(dir, signer);
  await again.append(entries(65_836, 65_840));
  expect(verifyLog(dir, key).problems).toEqual([]);
  const reader = new TileReader(dir, 65_840);
  for (const index of [0, 255, 256, 65_535, 65_536, 65_839]) {
    const hashes = inclusionProof(index, 65_840, reader.subtrees);
    const checkpoint = await readFile(path.join(dir, "checkpoint"), "utf8");
    expect(checkProof({ entry: entry(index), index, hashes, checkpoint }, key)).toMatchObject({ size: 65_840 });
  }
});

test("each checkpoint that was ever written can be proved to be a beginning of the log", async () => {
  const dir = folder();
  const log = await TlogWriter.open(dir, signer);
  const kept: Buffer[] = [];
  for (let size = 0; size < 600; size += 37) {
    await log.append(entries(size, size + 37));
    kept.push(await readFile(path.join(dir, "checkpoint")));
  }
  expect(verifyLog(dir, key, { kept }).problems).toEqual([]);
});

/** A disk on which step number `at` fails, in the middle of it if it is a write; every step after it too. */
function failing(at: number, counter = { steps: 0 }): Disk {
  const step = async <T>(work: () => Promise<T>, half?: () => Promise<unknown>): Promise<T> => {
    if (++counter.steps < at) return work();
    if (counter.steps === at) await half?.();
    throw Object.assign(new Error("the power is gone"), { code: "EIO" });
  };
  return {
    write: (file, data, mode) =>
      step(
        () => DISK.write(file, data, mode),
        () => DISK.write(file, data.subarray(0, data.length / 2), mode),
      ),
    rename: (from, to) => step(() => DISK.rename(from, to)),
    syncFolder: (dir) => step(() => DISK.syncFolder(dir)),
    makeFolder: (dir) => step(() => DISK.makeFolder(dir)),
    list: (dir) => DISK.list(dir),
    read: (file) => DISK.read(file),
    remove: (place) => step(() => DISK.remove(place)),
  };
}

test.each([
  [0, 3],
  [3, 5],
  [250, 260],
  [255, 256],
  [256, 257],
])("a crash at any step of going from %i to %i entries leaves a log that verifies and goes on", async (from, to) => {
  const before = await logOf(from);
  const old = await readFile(path.join(before, "checkpoint"));
  for (let at = 1, done = false; !done; at++) {
    const dir = folder();
    await cp(before, dir, { recursive: true });
    const counter = { steps: 0 };
    const log = await TlogWriter.open(dir, signer, failing(at, counter));
    await log.append(entries(from, to)).catch(() => undefined);
    done = counter.steps < at;
    const { checkpoint, problems } = verifyLog(dir, key, { kept: [old] });
    expect(problems).toEqual([]);
    expect([from, to]).toContain(checkpoint?.size);
    const again = await TlogWriter.open(dir, signer);
    expect(again.size).toBe(checkpoint?.size);
    await again.append(entries(again.size, to + 2));
    await expectWhole(dir, to + 2);
  }
});

test("after a crash other entries may come than those of tiles that no checkpoint covered", async () => {
  const dir = folder();
  const log = await TlogWriter.open(dir, signer);
  await log.append(entries(0, 200));
  const note = await readFile(path.join(dir, "checkpoint"));
  await log.append(Array.from({ length: 100 }, (_, i) => entry(i, "lost")));
  // As if the machine had died before the second checkpoint.
  await writeFile(path.join(dir, "checkpoint"), note);
  expect(verifyLog(dir, key)).toMatchObject({ problems: [] });
  const again = await TlogWriter.open(dir, signer);
  await again.append(entries(200, 300));
  await expectWhole(dir, 300);
});

test("what failed to be written can be appended again by the same writer", async () => {
  const dir = folder();
  await TlogWriter.open(dir, signer);
  let broken = true;
  const disk: Disk = {
    ...DISK,
    rename: (from, to) => (broken ? Promise.reject(new Error("full")) : DISK.rename(from, to)),
  };
  const log = await TlogWriter.open(dir, signer, disk);
  await expect(log.append(entries(0, 10))).rejects.toThrow("full");
  expect(log.size).toBe(0);
  broken = false;
  await log.append(entries(0, 10));
  await expectWhole(dir, 10);
});

async function filesOf(dir: string): Promise<string[]> {
  const found = await readdir(dir, { recursive: true, withFileTypes: true });
  return found.filter((one) => one.isFile()).map((one) => path.join(one.parentPath, one.name));
}

test("a log with any one byte of any file changed does not verify", async () => {
  const dir = await logOf(260, 130);
  const files = await filesOf(dir);
  expect(files.length).toBeGreaterThan(4);
  const unseen: string[] = [];
  for (const file of files) {
    const good = await readFile(file);
    // Every byte of a small file; of a large one every 41st, which meets lengths, keys and values alike.
    for (let at = 0; at < good.length; at += good.length > 1000 ? 41 : 1) {
      const changed = Buffer.from(good);
      changed[at] = changed[at]! ^ (1 << (at % 8));
      await writeFile(file, changed);
      if (verifyLog(dir, key).problems.length === 0) unseen.push(`${file}: byte ${at}`);
    }
    await writeFile(file, good);
  }
  expect(unseen).toEqual([]);
  expect(verifyLog(dir, key).problems).toEqual([]);
}, 120_000);

test("every byte of every file of a small log counts", async () => {
  const dir = await logOf(5, 2);
  const unseen: string[] = [];
  for (const file of await filesOf(dir)) {
    const good = await readFile(file);
    for (let at = 0; at < good.length; at++) {
      for (const bit of [1, 32, 128]) {
        await writeFile(file, good.with(at, good[at]! ^ bit));
        if (verifyLog(dir, key).problems.length === 0) unseen.push(`${file}: byte ${at}`);
      }
    }
    for (const wrong of [good.subarray(0, -1), Buffer.alloc(0), Buffer.concat([good, good]), undefined]) {
      if (wrong === undefined) await rm(file);
      else await writeFile(file, wrong);
      // A partial tile of an earlier checkpoint may be gone; nothing that the newest needs may.
      const needed = wrong !== undefined || file.endsWith("5") || file.endsWith("checkpoint");
      if (needed && verifyLog(dir, key).problems.length === 0) unseen.push(`${file}: cut, doubled or lost`);
    }
    await writeFile(file, good);
  }
  expect(unseen).toEqual([]);
});

test("what is wrong is said with its file and entry", async () => {
  const dir = await logOf(300);
  const bundle = path.join(dir, "tile", "entries", "000");
  const good = await readFile(bundle);
  const at = good.indexOf(entry(24));
  await writeFile(bundle, good.with(at + 6, good[at + 6]! ^ 1));
  expect(verifyLog(dir, key).problems).toEqual([
    { file: "tile/entries/000", what: "entry 24 is not the one that the tree has" },
  ]);
  await rm(bundle);
  expect(verifyLog(dir, key).problems).toEqual([{ file: "tile/entries/000", what: "missing" }]);
});

test("an entry that was changed together with its own hash is seen by the tile above", async () => {
  const dir = await logOf(300);
  const [bundle = "", tile = ""] = ["tile/entries/000", "tile/0/000"].map((name) => path.join(dir, name));
  const [entriesBytes, hashes] = [await readFile(bundle), await readFile(tile)];
  const at = entriesBytes.indexOf(entry(24));
  entriesBytes[at + 6]! ^= 1;
  hashes.set(leafHash(entriesBytes.subarray(at, at + entry(24).length)), 24 * 32);
  await Promise.all([writeFile(bundle, entriesBytes), writeFile(tile, hashes)]);
  const what = "does not hash to its place in the tile above";
  expect(verifyLog(dir, key).problems).toEqual([{ file: "tile/0/000", what }]);
});

test("entries in another order, another log's checkpoint, an older one and another key's are seen", async () => {
  const dir = await logOf(40, 20);
  const note = path.join(dir, "checkpoint");
  const good = await readFile(note);
  const other = folder();
  const reversed = await TlogWriter.open(other, signer);
  await reversed.append(entries(0, 40).reverse());
  const swapped = await readFile(path.join(other, "checkpoint"));
  await writeFile(note, swapped);
  expect(verifyLog(dir, key).problems).toEqual([{ file: "checkpoint", what: "its root is not that of the tiles" }]);
  await writeFile(note, good);
  // The whole other log is signed and whole by itself; who kept a checkpoint sees that it is a fork.
  expect(verifyLog(other, key).problems).toEqual([]);
  expect(verifyLog(other, key, { kept: [good] }).problems).toMatchObject([{ file: "kept checkpoint" }]);
  // So does who kept one that is newer than what is shown.
  const shorter = await logOf(20);
  expect(verifyLog(shorter, key, { kept: [good] }).problems).toEqual([
    { file: "kept checkpoint", what: "is of 40 entries, the log has only 20" },
  ]);
  const stranger = parsePrivateKey(generatePrivateKey(() => signer.name));
  expect(verifyLog(dir, parseVerifierKey(stranger.verifierKey))).toMatchObject({ checkpoint: null });
});

test("a log that was changed is not gone on with, nor one whose checkpoint was taken away or is another key's", async () => {
  const dir = await logOf(260, 130);
  const stranger = parsePrivateKey(generatePrivateKey(() => "example.org/stranger"));
  await expect(TlogWriter.open(dir, stranger)).rejects.toMatchObject({ code: "conflict" });
  const tile = path.join(dir, "tile", "0", "001.p", "4");
  const good = await readFile(tile);
  await writeFile(tile, good.with(3, good[3]! ^ 1));
  await expect(TlogWriter.open(dir, signer)).rejects.toThrow("do not hash to its checkpoint");
  await rm(tile);
  await expect(TlogWriter.open(dir, signer)).rejects.toThrow("001.p/4 is missing");
  await rm(path.join(dir, "checkpoint"));
  await expect(TlogWriter.open(dir, signer)).rejects.toThrow("has tiles but no checkpoint");
});

test("a proof is read back as it was written, and with any byte changed it proves nothing else", async () => {
  const dir = await logOf(300);
  const checkpoint = await readFile(path.join(dir, "checkpoint"), "utf8");
  const hashes = inclusionProof(7, 300, new TileReader(dir, 300).subtrees);
  const proof: TlogProof = { entry: entry(7), index: 7, hashes, checkpoint };
  const text = Buffer.from(formatProof(proof));
  expect(checkProof(parseProof(text.toString()), key)).toMatchObject({ size: 300 });
  for (let at = 0; at < text.length; at++) {
    const changed = text.with(at, text[at]! ^ 1);
    expect(() => checkProof(parseProof(Buffer.from(changed).toString()), key)).toThrow();
  }
  for (let size = 0; size < text.length; size++)
    expect(() => checkProof(parseProof(text.subarray(0, size).toString()), key)).toThrow();
});
