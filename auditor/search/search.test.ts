import { appendFile, cp, rm, truncate, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { AuditQuery, Caller, EVENTS, type AuditQueryInput } from "../../bus-schemas/index.ts";
import { createLog } from "../../service/log.ts";
import { decided, ended, hop } from "../../test/kit/recorded-jobs.ts";
import { BEGAN_MS, startLog, type RecordedLog } from "../../test/kit/recorded-log.ts";
import { tempDir, type TempDir } from "../../test/kit/temp-dir.ts";
import { waitFor } from "../../test/kit/wait-for.ts";
import { NO_KEYS } from "../at-rest/storage-keys.ts";
import { rebuildIndex, type ReadableLog } from "./build.ts";
import { LiveIndex } from "./live-index.ts";
import { SearchDesk } from "./search-desk.ts";
import { INDEX_FILE, SearchIndex } from "./search-index.ts";
import { search } from "./search.ts";
import { statsOf } from "./stats.ts";

let dir: TempDir;
let log: RecordedLog;
const never = new AbortController().signal;
const quiet = createLog("test", "silent");

beforeEach(async () => {
  dir = tempDir("tiermesh-search-");
  log = await startLog(dir.path);
});
afterEach(async () => {
  await log.close();
  await dir.remove();
});

const at = (...parts: string[]) => path.join(dir.path, ...parts);
const readable = (): ReadableLog => ({
  tlog: at("tlog"),
  checkpoint: { origin: "o", size: log.tree.size, root: Buffer.alloc(32) },
});

async function fill(): Promise<void> {
  await log.record("node_joined", { node_id: "gpu-1", layer: "L1", boot_id: null, hostname: null, models: [] });
  await log.record("job_decided", decided("job-aaaa", "gpu-1", "L1"), { dataClass: "P0" });
  await log.record("job_redispatched", hop("job-aaaa", "gpu-1", "gpu-2"), { dataClass: "P0" });
  await log.record("job_ended", ended("job-aaaa", "gpu-2", "L1"), { dataClass: "P0", source: "agent/gpu-2" });
  await log.record("job_decided", decided("job-bbbb", "cloud-1", "L2"));
  await log.record("job_ended", { ...ended("job-bbbb", "cloud-1", "L2"), cost: { amount: 0.02, currency: "USD" } });
  await log.record("job_ended", ended("job-cccc", null, null, "refused"));
  await log.cover();
}

function found(index: SearchIndex, query: AuditQueryInput): number[] {
  return search(index, { tlog: at("tlog") }, AuditQuery.parse(query)).events.map((entry) => entry.sequence);
}

test("entries are found by job, node, class, type, outcome and time, alone and together; hops by both their nodes", async () => {
  await fill();
  rebuildIndex(dir.path, readable());
  const index = new SearchIndex(at(INDEX_FILE));
  expect(found(index, { job_id: "job-aaaa" })).toEqual([2, 3, 4]);
  expect(found(index, { node_id: "gpu-1" })).toEqual([1, 2, 3]);
  expect(found(index, { node_id: "gpu-2" })).toEqual([3, 4]);
  expect(found(index, { security_level: "P0", outcome: "finished" })).toEqual([4]);
  expect(found(index, { type: "job_ended" })).toEqual([4, 6, 7]);
  expect(found(index, { outcome: "routed" })).toEqual([2, 3, 5]);
  expect(found(index, { since_unix_ms: BEGAN_MS + 3000, until_unix_ms: BEGAN_MS + 5000 })).toEqual([3, 4]);
  expect(found(index, { limit: 2 })).toEqual([6, 7]);
  expect(found(index, { after_sequence: 2, limit: 2 })).toEqual([3, 4]);
  expect(found(index, { outcome: "no-such-word" })).toEqual([]);
  const [entry] = search(index, { tlog: at("tlog") }, AuditQuery.parse({ limit: 1 })).events;
  expect(EVENTS.job_ended.data.parse(entry?.data)).toEqual(ended("job-cccc", null, null, "refused"));
  index.close();
});

test("jobs are found by their caller and by whom it acts for, whole names only", async () => {
  const caller = Caller.parse({ id: "crm", kind: "service", on_behalf_of: [{ id: "alice" }, { id: "crm" }] });
  await log.record("job_decided", { ...decided("job-aaaa", "gpu-1", "L1"), caller });
  await log.record("job_ended", { ...ended("job-aaaa", "gpu-1", "L1"), caller });
  await log.record("job_ended", ended("job-bbbb", "gpu-1", "L1"));
  await log.cover();
  rebuildIndex(dir.path, readable());
  const index = new SearchIndex(at(INDEX_FILE));
  expect(found(index, { caller: "crm" })).toEqual([1, 2]);
  expect(found(index, { caller: "alice", type: "job_ended" })).toEqual([2]);
  for (const caller of ["ali", "bob", "job-aaaa", "gpu-1", "' OR 1=1 --"]) expect(found(index, { caller })).toEqual([]);
  index.close();
});

test("pages are gone through without a hole or a repeat, with and without a filter", async () => {
  await fill();
  rebuildIndex(dir.path, readable());
  const index = new SearchIndex(at(INDEX_FILE));
  for (const filter of [{}, { type: "job_ended" } as const]) {
    const seen: number[] = [];
    for (let after = 0, more = true; more;) {
      const page = search(
        index,
        { tlog: at("tlog") },
        AuditQuery.parse({ ...filter, after_sequence: after, limit: 2 }),
      );
      seen.push(...page.events.map((entry) => entry.sequence));
      more = page.next > after;
      after = page.next;
    }
    expect(seen).toEqual("type" in filter ? [4, 6, 7] : [1, 2, 3, 4, 5, 6, 7]);
  }
  index.close();
});

test("stats count what fits; what a job took is counted once", async () => {
  await fill();
  rebuildIndex(dir.path, readable());
  const index = new SearchIndex(at(INDEX_FILE));
  expect(statsOf(index, {})).toEqual({
    entries: 7,
    jobs: 3,
    first_time: "2026-11-26T08:00:01.000Z",
    last_time: "2026-11-26T08:00:07.000Z",
    by_type: { job_ended: 3, job_decided: 2, job_redispatched: 1, node_joined: 1 },
    by_class: { P0: 3, P2: 3 },
    endings: { finished: 2, refused: 1 },
    nodes: [
      { node_id: "cloud-1", jobs: 1 },
      { node_id: "gpu-2", jobs: 1 },
    ],
    energy_wh: 0.5,
    cost: { USD: 0.02 },
    indexed: 7,
  });
  expect(statsOf(index, { node_id: "nobody" })).toMatchObject({ entries: 0, first_time: null, energy_wh: null });
  index.close();
});

test("an index that follows the log is the same as one made from all its tiles", async () => {
  const live = new LiveIndex(dir.path);
  for (let i = 0; i < 3; i++) {
    await fill();
    await live.follow(never);
  }
  rebuildIndex(dir.path, readable());
  const anew = new SearchIndex(at(INDEX_FILE));
  const rows = (index: SearchIndex | undefined) => index?.db.prepare("SELECT * FROM entry").all();
  expect(rows(live.index)).toHaveLength(21);
  expect(rows(live.index)).toEqual(rows(anew));
  anew.close();
  await fill();
  await live.follow(never);
  // The file that `reindex` put in its place was taken up.
  expect(new SearchIndex(at(INDEX_FILE)).log.last).toBe(28);
  live.close();
});

test.each([
  ["cut off", () => truncate(at(INDEX_FILE), 5000)],
  ["no database", () => writeFile(at(INDEX_FILE), "garbage".repeat(1000))],
  ["gone", () => rm(at(INDEX_FILE))],
])("an index whose file is %s is made anew when it is opened", async (_what, damage) => {
  await fill();
  const live = new LiveIndex(dir.path);
  await live.follow(never);
  live.close();
  await damage();
  const again = new LiveIndex(dir.path);
  try {
    await again.follow(never);
  } catch {
    again.beginAnew();
    await again.follow(never);
  }
  if (again.index === undefined) throw new Error("no index");
  expect(found(again.index, {})).toEqual([1, 2, 3, 4, 5, 6, 7]);
  again.close();
});

test("an index of another log, or of one that was cut back, is not believed", async () => {
  await fill();
  const live = new LiveIndex(dir.path);
  await live.follow(never);
  live.close();
  const other = tempDir("tiermesh-search-other-");
  const second = await startLog(other.path);
  await second.record("job_ended", ended("job-dddd", "gpu-9", "L1"));
  await second.cover();
  await cp(at(INDEX_FILE), path.join(other.path, INDEX_FILE));
  const moved = new LiveIndex(other.path);
  await moved.follow(never);
  expect(moved.index?.log.last).toBe(1);
  expect(moved.index?.select(AuditQuery.parse({ job_id: "job-aaaa" }))).toEqual([]);
  moved.close();
  await second.close();
  await other.remove();
});

test("a pruned bundle is passed over by an index that is made anew, and its entries are told as pruned by one that knew them", async () => {
  for (let i = 0; i < 300; i++)
    await log.record("job_ended", ended(`job-${String(i).padStart(4, "0")}`, "gpu-1", "L1"));
  await log.cover();
  rebuildIndex(dir.path, readable());
  const before = new SearchIndex(at(INDEX_FILE));
  await rm(at("tlog", "tile", "entries", "000"));
  expect(search(before, { tlog: at("tlog") }, AuditQuery.parse({ job_id: "job-0007" }))).toMatchObject({
    events: [],
    note: expect.stringContaining("1 more"),
  });
  before.close();
  expect(rebuildIndex(dir.path, readable())).toBe(44);
  const after = new SearchIndex(at(INDEX_FILE));
  expect(found(after, { limit: 2 })).toEqual([299, 300]);
  after.close();
});

test("a tile with damage in it stops the index with a sentence, and the file of the former index stays", async () => {
  await fill();
  rebuildIndex(dir.path, readable());
  await appendFile(at("tlog", "tile", "entries", "000.p", "7"), "x");
  expect(() => rebuildIndex(dir.path, readable())).toThrow(/lengths do not end where it ends/);
  const index = new SearchIndex(at(INDEX_FILE));
  expect(index.log.last).toBe(7);
  index.close();
});

test("the search thread follows, answers, and refuses by a typed error while there is no log", async () => {
  const empty = tempDir("tiermesh-search-none-");
  await using _nothing = { [Symbol.asyncDispose]: () => empty.remove() };
  const none = new SearchDesk(empty.path, quiet, NO_KEYS, 20);
  await expect(none.ask({ kind: "stats", about: {} })).rejects.toMatchObject({ code: "audit_unavailable" });
  await none.close();
  const desk = new SearchDesk(dir.path, quiet, NO_KEYS, 20);
  await fill();
  await waitFor(() => expect(desk.state).toEqual({ indexed: 7, problem: null }));
  const page = await desk.ask({ kind: "query", query: AuditQuery.parse({ node_id: "gpu-2" }) });
  expect(page.events.map((entry) => entry.sequence)).toEqual([3, 4]);
  expect(await desk.ask({ kind: "ending", jobId: "job-aaaa" })).toBe(4);
  expect(await desk.ask({ kind: "ending", jobId: "job-unknown" })).toBe(0);
  await desk.close();
});
