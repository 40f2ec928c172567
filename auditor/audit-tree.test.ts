import { appendFile, cp, readFile, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterEach, expect, test } from "vitest";
import type { AuditEntry, LogEntry } from "../bus-schemas/index.ts";
import { canonicalJson } from "../service/canonical-json.ts";
import { ALONE } from "../test/kit/signed-log.ts";
import { tempDir, type TempDir } from "../test/kit/temp-dir.ts";
import { AuditTree } from "./audit-tree.ts";
import { SegmentLog } from "./segment-log.ts";
import { decodeBundle } from "./tlog/bundle.ts";
import { parseVerifierKey } from "./tlog/keys.ts";
import { verifyLog } from "./tlog/verify.ts";
import { treeEntry } from "./tree-entry.ts";

const opened: SegmentLog[] = [];
const folders: TempDir[] = [];
afterEach(async () => {
  for (const log of opened.splice(0)) await log.close();
  for (const folder of folders.splice(0)) await folder.remove();
});

function folder(): string {
  const dir = tempDir("tiermesh-tree-");
  folders.push(dir);
  return dir.path;
}

function event(sequence: number): AuditEntry {
  return {
    sequence,
    stream_sequence: sequence,
    job_id: null,
    id: `id-${sequence}`,
    source: "router/r1",
    type: "node_left",
    time: "2026-01-02T03:04:05Z",
    security_level: null,
    traceparent: null,
    data: { node_id: "n1", layer: "L1", reason: null },
  };
}

async function openSegments(dir: string): Promise<SegmentLog> {
  const log = await SegmentLog.open(dir, { segmentBytes: 4096 });
  opened.push(log);
  if (log.streamCreated === undefined) await log.startStream("2026-01-01T00:00:00Z", 0);
  return log;
}

/** The tree with all that the log has. */
async function openTree(dir: string, log: SegmentLog): Promise<AuditTree> {
  const tree = await AuditTree.open(dir, log, "mesh.main");
  await tree.cover(ALONE);
  return tree;
}

async function append(log: SegmentLog, count: number): Promise<LogEntry[]> {
  const entries = Array.from({ length: count }, (_, i) => event(log.sequence + 1 + i));
  for (const entry of entries) await log.append([entry]);
  return entries;
}

async function check(dir: string) {
  const key = parseVerifierKey(await readFile(path.join(dir, "log-key.pub"), "utf8"));
  return verifyLog(path.join(dir, "tlog"), key);
}

test("entries enter the signed tree as canonical JSON, in the log's order", async () => {
  const dir = folder();
  const log = await openSegments(dir);
  const tree = await openTree(dir, log);
  const entries = await append(log, 3);
  tree.add(entries);
  expect([tree.size, tree.waiting]).toEqual([0, 3]);
  await tree.cover(ALONE);
  expect([tree.size, tree.waiting]).toEqual([3, 0]);
  expect(await check(dir)).toMatchObject({ problems: [], checkpoint: { size: 3 } });
  const bundle = decodeBundle(await readFile(path.join(dir, "tlog", "tile", "entries", "000.p", "3")));
  expect(bundle?.map(String)).toEqual(entries.map(canonicalJson));
});

test("the key is made once, readable by its owner only, and its name says which mesh it is of", async () => {
  const dir = folder();
  const log = await openSegments(dir);
  await openTree(dir, log);
  const made = await readFile(path.join(dir, "log-key"), "utf8");
  // Windows has no such mode.
  const mode = process.platform === "win32" ? 0o600 : (await stat(path.join(dir, "log-key"))).mode & 0o777;
  expect(mode).toBe(0o600);
  expect(await readFile(path.join(dir, "log-key.pub"), "utf8")).toMatch(
    /^tiermesh\.internal\/mesh\.main\/[0-9a-f]{8}\+[0-9a-f]{8}\+\S+\n$/,
  );
  await rm(path.join(dir, "log-key.pub"));
  await openTree(dir, log);
  expect(await readFile(path.join(dir, "log-key"), "utf8")).toBe(made);
  expect(await check(dir)).toMatchObject({ problems: [] });
});

test("what the segments have beyond the tree, after a crash or from before there was one, is added when it is opened", async () => {
  const dir = folder();
  let log = await openSegments(dir);
  await append(log, 40);
  const tree = await openTree(dir, log);
  expect(tree.size).toBe(40);
  tree.add(await append(log, 5));
  await append(log, 20);
  await log.close();
  log = await openSegments(dir);
  expect((await openTree(dir, log)).size).toBe(65);
  expect(await check(dir)).toMatchObject({ problems: [], checkpoint: { size: 65 } });
});

test("the same log gives the same tree, however it came into it", async () => {
  const dir = folder();
  const log = await openSegments(dir);
  const tree = await openTree(dir, log);
  for (const count of [3, 20, 7]) {
    tree.add(await append(log, count));
    await tree.cover(ALONE);
  }
  const copy = folder();
  await cp(dir, copy, { recursive: true });
  await rm(path.join(copy, "tlog"), { recursive: true });
  await openTree(copy, await openSegments(copy));
  const checkpoint = (place: string) => readFile(path.join(place, "tlog", "checkpoint"), "utf8");
  expect(await checkpoint(copy)).toBe(await checkpoint(dir));
});

test("a tree that is far behind takes its entries from the segments, also those that came meanwhile", async () => {
  const dir = folder();
  const log = await SegmentLog.open(dir, { segmentBytes: 4_000_000 });
  opened.push(log);
  await log.startStream("2026-01-01T00:00:00Z", 0);
  const tree = await AuditTree.open(dir, log, "mesh.main");
  const store = async (count: number) => {
    const entries = Array.from({ length: count }, (_, i) => event(log.sequence + 1 + i));
    await log.append(entries);
    tree.add(entries);
  };
  for (let i = 0; i < 9; i++) await store(8000);
  const heads: number[] = [];
  await tree.cover(async ({ size }) => {
    heads.push(size);
    await store(10);
  });
  expect(heads).toEqual([65_536, 72_000]);
  await tree.cover(ALONE);
  expect(await check(dir)).toMatchObject({ problems: [], checkpoint: { size: 72_020 } });
});

test("a tree that has more than the segments, a key that is gone and a damaged segment are not gone on with", async () => {
  const dir = folder();
  const log = await openSegments(dir);
  await append(log, 30);
  await openTree(dir, log);
  const lost = folder();
  await cp(dir, lost, { recursive: true });
  await rm(path.join(lost, "segment-000001.jsonl"));
  for (let number = 2; number < 9; number++) await rm(path.join(lost, `segment-00000${number}.jsonl`), { force: true });
  await expect(openTree(lost, await openSegments(lost))).rejects.toThrow(
    "the signed tree has entry 30, but the segments",
  );
  const damaged = folder();
  await cp(dir, damaged, { recursive: true });
  await rm(path.join(damaged, "tlog"), { recursive: true });
  await appendFile(path.join(damaged, "segment-000001.jsonl"), "no entry\n");
  const segments = await openSegments(damaged);
  await expect(openTree(damaged, segments)).rejects.toThrow(/segment-000001\.jsonl:\d+: damaged/);
  await rm(path.join(dir, "log-key"));
  await expect(openTree(dir, log)).rejects.toThrow("log-key is gone");
  await writeFile(path.join(dir, "log-key"), "PRIVATE+KEY+x+00000000+AAAA");
  await expect(openTree(dir, log)).rejects.toMatchObject({ code: "bad_config" });
});

test("an entry too large for a tile enters with its data's hash", () => {
  const large = { ...event(1), data: { text: "ü".repeat(40_000), a: 1 } };
  const entry = treeEntry(large);
  expect(entry.length).toBeLessThan(1000);
  expect(JSON.parse(entry.toString())).toMatchObject({
    id: "id-1",
    data_bytes: 80_017,
    data_sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
  expect(JSON.parse(entry.toString())).not.toHaveProperty("data");
});
