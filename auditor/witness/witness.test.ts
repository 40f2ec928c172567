import { cp, readFile, readdir } from "node:fs/promises";
import path from "node:path";
import { afterEach, expect, test } from "vitest";
import { tempDir, type TempDir } from "../../test/kit/temp-dir.ts";
import { cosignersOf, signCheckpoint } from "../tlog/checkpoint.ts";
import { DISK, type Disk } from "../tlog/files.ts";
import { EMPTY_ROOT } from "../tlog/hash.ts";
import { generatePrivateKey, parsePrivateKey, parseVerifierKey } from "../tlog/keys.ts";
import { TileReader } from "../tlog/reader.ts";
import { consistencyProof } from "../tlog/tree.ts";
import { TlogWriter } from "../tlog/writer.ts";
import { formatAddCheckpoint, parseAddCheckpoint } from "./request.ts";
import { Witness } from "./witness.ts";

const logSigner = parsePrivateKey(generatePrivateKey(() => "example.org/log"));
const log = parseVerifierKey(logSigner.verifierKey);
const witnessSigner = parsePrivateKey(
  generatePrivateKey(() => "witness.example/w1", "cosignature"),
  () => 1_700_000_000.9,
);
const witnessKey = parseVerifierKey(witnessSigner.verifierKey);
const folders: TempDir[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await folder.remove();
});

function folder(): string {
  const dir = tempDir("tiermesh-witness-");
  folders.push(dir);
  return dir.path;
}

const entries = (from: number, to: number, kind = "e") =>
  Array.from({ length: to - from }, (_, i) => Buffer.from(`${kind}${from + i}`));

/** A log with its checkpoint at each of some sizes. */
async function logOf(...sizes: number[]) {
  const dir = folder();
  const writer = await TlogWriter.open(dir, logSigner);
  const notes = new Map<number, string>();
  for (const size of sizes) {
    await writer.append(entries(writer.size, size));
    notes.set(size, await readFile(path.join(dir, "checkpoint"), "utf8"));
  }
  const ask = (oldSize: number, size: number) => {
    const reader = new TileReader(dir, sizes.at(-1) ?? 0);
    const proof = oldSize === 0 || oldSize === size ? [] : consistencyProof(oldSize, size, reader.subtrees);
    return formatAddCheckpoint({ oldSize, proof, checkpoint: notes.get(size) ?? "" });
  };
  return { dir, notes, ask };
}

const open = (dir: string, more: { disk?: Disk; onRefused?: (what: object) => void } = {}) =>
  Witness.open({ signer: witnessSigner, logs: [log], folder: dir, ...more });

test("a log that goes on is cosigned, and the cosignature opens by the witness's key only, with its time", async () => {
  const { ask, notes } = await logOf(10, 300, 900);
  const witness = await open(folder());
  for (const [old, size] of [
    [0, 10],
    [10, 300],
    [300, 900],
  ] as const) {
    const answer = await witness.addCheckpoint(ask(old, size));
    expect(answer).toMatchObject({ status: 200, type: "text/plain" });
    expect(answer.body).toMatch(/^— witness\.example\/w1 \S+\n$/);
    const whole = Buffer.from(`${notes.get(size)}${answer.body}`);
    expect(cosignersOf(whole, [witnessKey])).toEqual([
      { witness: "witness.example/w1", state: "cosigned", timeS: 1_700_000_000 },
    ]);
    const other = parseVerifierKey(parsePrivateKey(generatePrivateKey(() => "x", "cosignature")).verifierKey);
    expect(cosignersOf(whole, [other])).toMatchObject([{ state: "absent" }]);
    // The same line under another checkpoint.
    const moved = Buffer.from(`${notes.get(size === 10 ? 900 : 10)}${answer.body}`);
    expect(cosignersOf(moved, [witnessKey])).toMatchObject([{ state: "wrong", timeS: null }]);
  }
  expect(witness.sizes).toEqual({ "example.org/log": 900 });
  // Asked again for the same, it says the same; that is how a time is renewed.
  expect(await witness.addCheckpoint(ask(900, 900))).toMatchObject({ status: 200 });
});

test("who does not know what was cosigned last is told, in the format's own type", async () => {
  const { ask } = await logOf(10, 300);
  const witness = await open(folder());
  await witness.addCheckpoint(ask(0, 10));
  for (const old of [0, 9, 11, 300])
    expect(await witness.addCheckpoint(ask(old, 300))).toEqual({ status: 409, body: "10\n", type: "text/x.tlog.size" });
  expect(await witness.addCheckpoint(ask(10, 300))).toMatchObject({ status: 200 });
  // A log that was cut back: what it asks for is older than what was said.
  expect(await witness.addCheckpoint(ask(0, 10))).toMatchObject({ status: 409, body: "300\n" });
  expect(await witness.addCheckpoint(ask(300, 300).replace("old 300", "old 301"))).toMatchObject({ status: 400 });
});

test("a log written anew with its own key is refused, whatever it proves; its checkpoint is kept as evidence", async () => {
  const { ask } = await logOf(10, 300);
  const dir = folder();
  const refused: object[] = [];
  const witness = await open(dir, { onRefused: (what) => refused.push(what) });
  await witness.addCheckpoint(ask(0, 300));
  const fork = folder();
  const writer = await TlogWriter.open(fork, logSigner);
  const forged = async (size: number) => {
    await writer.append(entries(writer.size, size, "forged"));
    return readFile(path.join(fork, "checkpoint"), "utf8");
  };
  const same = await forged(300);
  expect(await witness.addCheckpoint(formatAddCheckpoint({ oldSize: 300, proof: [], checkpoint: same }))).toMatchObject(
    {
      status: 409,
      body: "300\n",
    },
  );
  const longer = await forged(700);
  const proof = consistencyProof(300, 700, new TileReader(fork, 700).subtrees);
  for (const lines of [proof, [], proof.slice(1), proof.toReversed()])
    expect(
      await witness.addCheckpoint(formatAddCheckpoint({ oldSize: 300, proof: lines, checkpoint: longer })),
    ).toMatchObject({ status: 422 });
  expect(refused).toMatchObject([
    { size: 300, cosigned_size: 300 },
    ...Array.from({ length: 4 }, () => ({ size: 700 })),
  ]);
  const kept = await readdir(path.join(dir, "refused"));
  expect(kept).toHaveLength(2);
  const evidence = await Promise.all(kept.map((file) => readFile(path.join(dir, "refused", file), "utf8")));
  expect(new Set(evidence)).toEqual(new Set([same, longer]));
  expect(witness.sizes).toEqual({ "example.org/log": 300 });
});

test("unknown logs, foreign signatures and what is no request are told apart", async () => {
  const { ask, notes } = await logOf(10);
  const witness = await open(folder());
  const stranger = parsePrivateKey(generatePrivateKey(() => "example.org/log"));
  const unknown = parsePrivateKey(generatePrivateKey(() => "example.org/unknown"));
  const head = { size: 0, root: EMPTY_ROOT };
  const say = (checkpoint: string, old = "old 0\n\n") => witness.addCheckpoint(`${old}${checkpoint}`);
  expect(await say(signCheckpoint(head, unknown))).toMatchObject({ status: 404 });
  expect(await say(signCheckpoint(head, stranger))).toMatchObject({ status: 403 });
  expect(await say((notes.get(10) ?? "").replace("\n10\n", "\n11\n"))).toMatchObject({ status: 403 });
  expect(await say(signCheckpoint({ size: 0, root: Buffer.alloc(32, 1) }, logSigner))).toMatchObject({ status: 409 });
  const good = notes.get(10) ?? "";
  const hash = Buffer.alloc(32).toString("base64");
  for (const old of [
    "",
    "old 0\n",
    "old\n\n",
    "old 00\n\n",
    "old -1\n\n",
    "old 1e1\n\n",
    "old 0\nnot a hash\n\n",
    " old 0\n\n",
  ])
    expect([old, await say(good, old)]).toMatchObject([old, { status: 400 }]);
  expect(await say(good, `old 0\n${`${hash}\n`.repeat(64)}\n`)).toMatchObject({ status: 400 });
  expect(await say(good, `old 0\n${hash}\n\n`)).toMatchObject({ status: 422 });
  expect(await witness.addCheckpoint("old 0\n\nno note")).toMatchObject({ status: 400 });
  expect(await witness.addCheckpoint(ask(0, 10))).toMatchObject({ status: 200 });
  const parsed = parseAddCheckpoint(ask(0, 10));
  expect(formatAddCheckpoint(parsed)).toBe(ask(0, 10));
});

test("two that ask at once never get the older one recorded over the newer", async () => {
  const { ask } = await logOf(10, 20, 30);
  const dir = folder();
  const witness = await open(dir);
  await witness.addCheckpoint(ask(0, 10));
  const answers = await Promise.all([witness.addCheckpoint(ask(10, 30)), witness.addCheckpoint(ask(10, 20))]);
  expect(answers.map(({ status }) => status)).toEqual([200, 409]);
  expect((await open(dir)).sizes).toEqual({ "example.org/log": 30 });
});

/** A disk that fails at step `at`, and at each one after it. */
function failing(at: number): Disk {
  let steps = 0;
  const step = <T>(work: () => Promise<T>): Promise<T> =>
    ++steps < at ? work() : Promise.reject(Object.assign(new Error("no power"), { code: "EIO" }));
  return {
    ...DISK,
    write: (file, data, mode) => step(() => DISK.write(file, data, mode)),
    rename: (from, to) => step(() => DISK.rename(from, to)),
    syncFolder: (dir) => step(() => DISK.syncFolder(dir)),
    makeFolder: (dir) => step(() => DISK.makeFolder(dir)),
  };
}

test("whatever step of writing down fails, no cosignature is given that the next start does not know of", async () => {
  const { ask } = await logOf(10, 300);
  const base = folder();
  const first = await open(base);
  await first.addCheckpoint(ask(0, 10));
  const statuses: number[] = [];
  for (let at = 1; at <= 5; at++) {
    const dir = folder();
    await cp(base, dir, { recursive: true });
    const { status } = await (await open(dir, { disk: failing(at) })).addCheckpoint(ask(10, 300));
    statuses.push(status);
    const known = (await open(dir)).sizes["example.org/log"] ?? 0;
    expect([10, 300]).toContain(known);
    expect(status === 200 ? known : 300).toBe(300);
  }
  expect(new Set(statuses)).toEqual(new Set([500, 200]));
});

test("a witness whose record is damaged does not start, nor one whose keys are of the wrong kind", async () => {
  const { ask } = await logOf(10);
  const dir = folder();
  await (await open(dir)).addCheckpoint(ask(0, 10));
  const [name = ""] = await readdir(dir);
  const file = path.join(dir, name);
  const note = await readFile(file);
  await DISK.write(file, note.with(20, (note[20] ?? 0) ^ 1), 0o600);
  await expect(open(dir)).rejects.toMatchObject({ code: "conflict" });
  await expect(Witness.open({ signer: logSigner, logs: [log], folder: folder() })).rejects.toThrow("a log's");
  await expect(Witness.open({ signer: witnessSigner, logs: [witnessKey], folder: folder() })).rejects.toThrow(
    "the key of a witness",
  );
});
