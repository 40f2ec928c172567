import { appendFile, cp, readFile, readdir, rename, rm, stat, truncate, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { AuditQuery, Caller } from "../../bus-schemas/index.ts";
import { decided, ended } from "../../test/kit/recorded-jobs.ts";
import { startLog, type RecordedLog } from "../../test/kit/recorded-log.ts";
import { tempDir, type TempDir } from "../../test/kit/temp-dir.ts";
import { receiptOf } from "../proofs/receipt.ts";
import { proveNoP0Egress } from "../proofs/prove.ts";
import { Pruner } from "../pruning/pruner.ts";
import { answerQuery } from "../query.ts";
import { LiveIndex } from "../search/live-index.ts";
import { search } from "../search/search.ts";
import { SegmentLog } from "../segment-log.ts";
import { entriesAfter } from "../segment-reader.ts";
import { parseVerifierKey } from "../tlog/keys.ts";
import { Scrubber } from "../tlog/scrub.ts";
import { verifyLog } from "../tlog/verify.ts";
import { Resealer, countSeals, prepareFolder } from "./reseal.ts";
import { MissingStorageKey, StorageKeys, newStorageKey } from "./storage-keys.ts";

/** What no byte of an encrypted log may show. */
const SECRETS = ["gpu-", "job-", "router/", "job_ended", "qwen3", "crm-service"];
const caller = Caller.parse({ id: "crm-service", kind: "service" });
const OLD = newStorageKey();
const keys = new StorageKeys([OLD]);
const rotated = new StorageKeys([newStorageKey(), OLD]);

let dir: TempDir;
const at = (...parts: string[]) => path.join(dir.path, ...parts);

beforeEach(() => {
  dir = tempDir("tiermesh-encrypted-");
});
afterEach(() => dir.remove());

const jobId = (i: number) => `job-${String(i).padStart(4, "0")}`;

/** Jobs, a decision and an ending each. */
async function record(log: RecordedLog, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++) {
    await log.record("job_decided", { ...decided(jobId(i), `gpu-${i % 5}`, "L1"), caller });
    await log.record("job_ended", ended(jobId(i), `gpu-${i % 5}`, "L1"));
  }
  await log.cover();
}

async function filesIn(folder: string): Promise<string[]> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true });
  return found.filter((one) => one.isFile()).map((one) => path.join(one.parentPath, one.name));
}

/** Files that show something of the entries. */
async function telling(folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const file of await filesIn(folder)) {
    const data = await readFile(file);
    if (SECRETS.some((secret) => data.includes(secret))) found.push(path.relative(folder, file));
  }
  return found;
}

const verified = async (use = keys) =>
  verifyLog(at("tlog"), parseVerifierKey(await readFile(at("log-key.pub"), "utf8")), { keys: use });

async function positions(use = keys): Promise<number[]> {
  const entries: number[] = [];
  for await (const batch of entriesAfter(dir.path, { after: 0, upTo: Infinity, keys: use }, 100))
    entries.push(...batch.map(({ sequence }) => sequence));
  return entries;
}

const counted = (count: number) => Array.from({ length: count }, (_, i) => i + 1);

test("an encrypted log shows nothing of its entries, is the same tree, and is searched, proven and scrubbed as a plain one", async () => {
  const log = await startLog(dir.path, { keys, segmentBytes: 20_000 });
  await record(log, 0, 200);
  const live = new LiveIndex(dir.path, keys);
  await live.follow(new AbortController().signal);
  expect(await telling(dir.path)).toEqual([]);
  const { index } = live;
  if (index === undefined) throw new Error("no index");
  const found = search(index, live.log, AuditQuery.parse({ node_id: "gpu-3", type: "job_ended", limit: 500 }));
  expect(found.events.map(({ job_id }) => job_id)).toEqual(counted(40).map((i) => jobId(5 * i - 2)));
  expect(search(index, live.log, AuditQuery.parse({ job_id: jobId(77) })).events).toHaveLength(2);
  expect(index.select(AuditQuery.parse({ caller: "crm-service", limit: 500 }))).toHaveLength(200);
  const newest = await answerQuery(log.segments.index, AuditQuery.parse({ job_id: jobId(199) }));
  expect(newest.events.map(({ type }) => type)).toEqual(["job_decided", "job_ended"]);
  live.close();
  const key = parseVerifierKey(await readFile(at("log-key.pub"), "utf8"));
  expect((await verified()).problems).toEqual([]);
  expect(JSON.parse(receiptOf(at("tlog"), key, 5, keys).entry.toString())).toMatchObject({ sequence: 6 });
  expect(proveNoP0Egress(at("tlog"), key, { fromMs: 0, toMs: 4e12 }, keys)).toMatchObject({ holds: true, size: 400 });
  expect(new Scrubber(at("tlog"), keys).look(log.tree.head)).toEqual([]);
  await log.close();
  expect(await positions()).toEqual(counted(400));
  const plain = tempDir("tiermesh-plain-");
  await cp(at("log-key"), path.join(plain.path, "log-key"));
  const other = await startLog(plain.path);
  await record(other, 0, 200);
  expect(Buffer.from(other.tree.head.root).equals(Buffer.from(log.tree.head.root))).toBe(true);
  await other.close();
  await plain.remove();
});

test("encryption is switched on in place, and its key is changed, at any step of which one can stop", async () => {
  const options = { segmentBytes: 8000, repeatWindow: 10 };
  const log = await startLog(dir.path, options);
  await record(log, 0, 400);
  await log.close();
  await writeFile(at("segment-000001.jsonl.damaged-1-2"), "about gpu-1\n");
  for (const name of ["tlog/tile/entries/000.tmp", "segment-000001.jsonl.tmp", "search.db.999999999.tmp"])
    await writeFile(at(name), "half of gpu-1");
  const before = await stat(at("tlog/tile/entries/000"));
  for (const [i, use] of [keys, rotated].entries()) {
    const again = await startLog(dir.path, { ...options, keys: use });
    // As long as it is not over, entries of each kind are read, and the log goes on.
    await record(again, 400 + i, 401 + i);
    await prepareFolder(dir.path, use);
    const newest = use.current?.id ?? "";
    let [steps, resealer] = [0, new Resealer(dir.path, use)];
    for (; resealer.state.state === "working"; steps++) {
      expect(await positions(use)).toEqual(counted(802 + 2 * i));
      expect((await verified(use)).problems).toEqual([]);
      expect(await resealer.step()).toEqual([]);
      // Whoever comes after a crash begins anew, and finds the rest.
      if (steps === 0) resealer = new Resealer(dir.path, use);
    }
    expect(steps).toBeGreaterThan(1);
    expect(Object.keys(await countSeals(dir.path))).toEqual([newest]);
    await again.close();
  }
  expect(await telling(dir.path)).toEqual([]);
  expect((await stat(at("tlog/tile/entries/000"))).mtimeMs).toBeCloseTo(before.mtimeMs, -1);
  const onlyNew = new StorageKeys(rotated.texts.slice(0, 1));
  expect(await positions(onlyNew)).toEqual(counted(804));
  expect((await verified(onlyNew)).problems).toEqual([]);
  await expect(verified(keys)).resolves.toMatchObject({ problems: { length: 4 } });
});

test("an encrypted log is pruned as a plain one, by the times of its entries", async () => {
  const log = await startLog(dir.path, { keys, segmentBytes: 20_000 });
  await record(log, 0, 300);
  const announced: number[] = [];
  const pruner = new Pruner({
    folder: at("tlog"),
    keys,
    size: () => log.tree.size,
    retention: () => Promise.resolve({ P0: 1000, P1: 1000, P2: 31, none: 1000 }),
    now: () => Promise.resolve(Date.now() + 40 * 24 * 3_600_000),
    isWriter: () => true,
    announce: ({ minimum_index: minimum }) => announced.push(minimum),
    pruneSegments: (before) => log.segments.prune(before),
  });
  expect(await pruner.tick()).toBe(0);
  expect(announced).toEqual([256]);
  const retention = { P0: 1000, P1: 1000, P2: 31, none: 1000 };
  const said = { auditor: "auditor", minimum_index: 256, retention_days: retention } as const;
  pruner.onStored([await log.record("audit_pruned", said, { source: "auditor/auditor" })]);
  await log.cover();
  expect(await pruner.tick()).toBe(256);
  expect(await verified()).toMatchObject({ problems: [], minimum: 256 });
  expect((await positions())[0]).toBeGreaterThan(1);
  await log.close();
});

test("without its key the log is not gone on with, no second one is begun, and it is said what to do", async () => {
  const log = await startLog(dir.path, { keys });
  await record(log, 0, 150);
  await log.close();
  const before = (await filesIn(dir.path)).toSorted();
  const other = new StorageKeys([newStorageKey()]);
  for (const use of [undefined, other]) {
    const error: unknown = await startLog(dir.path, { keys: use }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(MissingStorageKey);
    expect((error as Error).message).toContain(`storage key ${keys.ids[0]}, which is not here`);
    expect((await filesIn(dir.path)).toSorted()).toEqual(before);
  }
  await rm(at("segment-000001.jsonl"));
  // The tiles alone are enough to know it.
  await expect(startLog(dir.path, { keys: other })).rejects.toBeInstanceOf(MissingStorageKey);
  await expect(verified(new StorageKeys())).rejects.toBeInstanceOf(MissingStorageKey);
  expect((await verified(other)).problems[0]?.what).toContain("encrypted by a storage key that is not here");
});

test("files and lines that changed places are damage, although each is whole", async () => {
  const log = await startLog(dir.path, { keys });
  await record(log, 0, 300);
  await log.close();
  const [a, b] = [at("tlog/tile/entries/000"), at("tlog/tile/entries/001")];
  await rename(a, at("kept"));
  await rename(b, a);
  await rename(at("kept"), b);
  const files = (await verified()).problems.filter(({ what }) => what.includes("cannot be decrypted"));
  expect(files.map(({ file }) => file)).toEqual(["tile/entries/000", "tile/entries/001"]);
  const segment = at("segment-000001.jsonl");
  const [head = "", one = "", two = "", ...rest] = (await readFile(segment, "utf8")).split("\n");
  await writeFile(segment, [head, two, one, ...rest].join("\n"));
  await expect(positions()).rejects.toMatchObject({
    code: "conflict",
    message: expect.stringContaining(":2: damaged"),
  });
  await writeFile(segment, [head.replace('"segment":1', '"segment":2'), one, two, ...rest].join("\n"));
  await expect(positions()).rejects.toThrow(/give it its own name back/);
});

test("a last line torn at any byte is cut, and only that one; one that was changed is set aside", async () => {
  const log = await SegmentLog.open(dir.path, { keys });
  await log.startStream("2026-01-01T00:00:00Z", 0);
  const entry = (sequence: number) => ({
    sequence,
    stream_sequence: sequence,
    job_id: null,
    rejected: { subject: "x", size_bytes: 1, reason: "not JSON" },
  });
  await log.append([entry(1), entry(2)]);
  await log.append([entry(3), entry(4)]);
  await log.close();
  const file = at("segment-000001.jsonl");
  const whole = await readFile(file);
  const last = whole.subarray(0, -1).lastIndexOf(10) + 1;
  for (let end = last + 1; end < whole.length; end += 7) {
    await writeFile(file, whole.subarray(0, end));
    const again = await SegmentLog.open(dir.path, { keys });
    expect([again.sequence, (await readFile(file)).length]).toEqual([2, last]);
    await again.close();
  }
  await writeFile(file, whole.with(last + 60, (whole[last + 60] ?? 0) ^ 1));
  await appendFile(file, "garbage\n");
  const repairs: unknown[] = [];
  const again = await SegmentLog.open(dir.path, { keys, onRepair: (what) => repairs.push(what) });
  expect(again.sequence).toBe(2);
  expect(repairs).toMatchObject([{ set_aside: true }]);
  await again.append([entry(3)]);
  await again.close();
  await truncate(file, (await stat(file)).size - 1);
  const torn = await SegmentLog.open(dir.path, { keys });
  expect(torn.sequence).toBe(2);
  await torn.close();
});

test("a damaged segment is left as it is and named; all others are encrypted", async () => {
  const options = { segmentBytes: 8000, repeatWindow: 10 };
  const log = await startLog(dir.path, options);
  await record(log, 0, 400);
  await log.close();
  const segment = at("segment-000001.jsonl");
  const lines = (await readFile(segment, "utf8")).split("\n");
  await writeFile(segment, lines.toSpliced(2, 1, "{torn").join("\n"));
  const resealer = new Resealer(dir.path, keys);
  const failed: string[] = [];
  while (resealer.state.state === "working") failed.push(...(await resealer.step()).map(({ file }) => file));
  expect(failed).toEqual([segment]);
  expect(resealer.state).toMatchObject({ state: "done", failed: ["segment-000001.jsonl"] });
  expect((await readFile(segment, "utf8")).split("\n")[2]).toBe("{torn");
  expect((await readdir(dir.path)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  expect(await countSeals(dir.path)).toMatchObject({ plain: 2 });
});
