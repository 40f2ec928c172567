import { readdir, utimes } from "node:fs/promises";
import path from "node:path";
import { afterEach, expect, test } from "vitest";
import { RoutingConfig, type AuditEntry, type EventData } from "../../bus-schemas/index.ts";
import { ALONE, verifyTree } from "../../test/kit/signed-log.ts";
import { tempDir, type TempDir } from "../../test/kit/temp-dir.ts";
import { AuditTree } from "../audit-tree.ts";
import { TLOG_FOLDER } from "../log-key.ts";
import { SegmentLog } from "../segment-log.ts";
import { Pruner } from "./pruner.ts";
import { isExpired, retentionOf, timeOf } from "./retention.ts";

const DAY_MS = 24 * 3600 * 1000;
const START_MS = Date.parse("2026-01-01T00:00:00Z");
const RETENTION = { P0: 1000, P1: 365, P2: 31, none: 1000 };
const folders: TempDir[] = [];
const opened: SegmentLog[] = [];
afterEach(async () => {
  for (const log of opened.splice(0)) await log.close();
  for (const folder of folders.splice(0)) await folder.remove();
});

type Class = AuditEntry["security_level"];

/** An auditor's folder, and a clock. */
async function auditor(retention = RETENTION) {
  const folder = tempDir("tiermesh-pruner-");
  folders.push(folder);
  const log = await SegmentLog.open(folder.path, { segmentBytes: 30_000 });
  opened.push(log);
  await log.startStream("2026-01-01T00:00:00Z", 0);
  const tree = await AuditTree.open(folder.path, log, "mesh.main");
  const clock = { ms: START_MS, believed: true };
  const announced: Omit<EventData<"audit_pruned">, "auditor">[] = [];
  const pruner = new Pruner({
    folder: path.join(folder.path, TLOG_FOLDER),
    size: () => tree.size,
    retention: () => Promise.resolve(retention),
    isWriter: () => true,
    announce: (what) => announced.push(what),
    pruneSegments: (before) => log.prune(before),
    now: () => Promise.resolve(clock.believed ? clock.ms : undefined),
  });
  /** Writes so many events of a class, now. */
  const write = async (count: number, dataClass: Class, more: Partial<AuditEntry> = {}) => {
    const entries = Array.from({ length: count }, (_, i): AuditEntry => {
      const sequence = log.sequence + 1 + i;
      return {
        sequence,
        stream_sequence: sequence,
        job_id: null,
        id: `id-${sequence}`,
        source: "router/r1",
        type: "node_left",
        time: new Date(clock.ms).toISOString(),
        security_level: dataClass,
        traceparent: null,
        data: {},
        ...more,
      };
    });
    for (let at = 0; at < entries.length; at += 64) await log.append(entries.slice(at, at + 64));
    tree.add(entries);
    await tree.cover(ALONE);
    pruner.onStored(entries);
    const bundles = path.join(folder.path, TLOG_FOLDER, "tile", "entries");
    const written = new Date(clock.ms);
    for (const name of await readdir(bundles))
      if (!name.endsWith(".p")) await utimes(path.join(bundles, name), written, written);
  };
  /** Puts the announcement into the log, as the stream brings it. */
  const recordAnnounced = () =>
    write(1, null, { type: "audit_pruned", source: "auditor/auditor", data: announced.at(-1) as AuditEntry["data"] });
  return { dir: folder.path, log, tree, clock, announced, pruner, write, recordAnnounced };
}

test("what is past its retention is announced in the log, and removed only when the log says so and has covered it", async () => {
  const { announced, clock, dir, log, pruner, recordAnnounced, write } = await auditor();
  await write(600, "P2");
  await write(700, "P1");
  expect(await pruner.tick()).toBe(0);
  expect(announced).toEqual([]);
  clock.ms += 31 * DAY_MS + 1000;
  expect(await pruner.tick()).toBe(0);
  // The third bundle has entries of P1, too.
  expect(announced).toEqual([{ minimum_index: 512, retention_days: RETENTION }]);
  const segments = (await readdir(dir)).filter((name) => name.endsWith(".jsonl")).length;
  await recordAnnounced();
  expect(await pruner.tick()).toBe(512);
  expect(verifyTree(dir)).toMatchObject({ problems: [], minimum: 512, checkpoint: { size: 1301 } });
  expect((await readdir(dir)).filter((name) => name.endsWith(".jsonl")).length).toBeLessThan(segments);
  expect(log.index.first).toBeGreaterThan(256);
  expect(log.index.first).toBeLessThanOrEqual(513);
  expect(await pruner.tick()).toBe(512);
  expect(announced).toHaveLength(1);
  const again = await SegmentLog.open(dir, { segmentBytes: 30_000 });
  opened.push(again);
  expect(again.sequence).toBe(1301);
});

test("an announcement by somebody else, or of more than is due, removes nothing that must stay", async () => {
  const { clock, pruner, write } = await auditor();
  await write(900, "P2");
  clock.ms += 31 * DAY_MS + 1000;
  await write(300, "P2");
  await write(1, null, { type: "audit_pruned", source: "router/r1", data: { minimum_index: 768 } });
  expect(await pruner.tick()).toBe(0);
  await write(1, null, { type: "audit_pruned", source: "auditor/auditor-2", data: { minimum_index: 1024 } });
  // The bundle from 768 on was filled up only now.
  expect(await pruner.tick()).toBe(768);
});

test("the newest full bundle stays, however old it is", async () => {
  const { announced, clock, dir, pruner, recordAnnounced, write } = await auditor();
  await write(512, "P2");
  clock.ms += 4000 * DAY_MS;
  await pruner.tick();
  expect(announced).toMatchObject([{ minimum_index: 256 }]);
  await recordAnnounced();
  expect(await pruner.tick()).toBe(256);
  expect(verifyTree(dir).problems).toEqual([]);
});

test("a clock that is not believed removes nothing, and bundles that were written under a wrong one stay as long as their neighbours", async () => {
  const { announced, clock, dir, pruner, write } = await auditor();
  await write(300, "P2");
  Object.assign(clock, { ms: Date.parse("2036-01-01T00:00:00Z"), believed: false });
  await pruner.tick();
  expect(announced).toEqual([]);
  await write(300, "P2");
  clock.ms = START_MS + DAY_MS;
  await write(300, "P2");
  const bundles = path.join(dir, TLOG_FOLDER, "tile", "entries");
  const times = ["2026-01-01", "2036-01-01", "2016-01-01"].map((day) => new Date(`${day}T00:00:00Z`));
  for (const [i, time] of times.entries()) await utimes(path.join(bundles, `00${i}`), time, time);
  await write(300, "P2");
  for (const [i, time] of times.entries()) await utimes(path.join(bundles, `00${i}`), time, time);
  clock.believed = true;
  clock.ms = START_MS + 30 * DAY_MS;
  await pruner.tick();
  expect(announced).toEqual([]);
  clock.ms = START_MS + 33 * DAY_MS;
  await pruner.tick();
  expect(announced).toMatchObject([{ minimum_index: 768 }]);
});

test("a policy that cannot be read, and a log that cannot be written, prune nothing", async () => {
  const { clock, dir, write } = await auditor();
  await write(900, "P2");
  clock.ms += 4000 * DAY_MS;
  const parts = {
    folder: path.join(dir, TLOG_FOLDER),
    isWriter: () => true,
    announce: () => expect.unreachable(),
    pruneSegments: () => Promise.reject(new Error("must not be called")),
    now: () => Promise.resolve(clock.ms),
  };
  const blind = new Pruner({ ...parts, size: () => 900, retention: () => Promise.reject(new Error("no bus")) });
  await expect(blind.tick()).rejects.toThrow("no bus");
  const closed = new Pruner({ ...parts, size: () => undefined, retention: () => Promise.resolve(RETENTION) });
  expect(await closed.tick()).toBe(0);
});

test("a policy's days count by class; what is about no job stays as long as the longest, and nothing goes within a month", () => {
  expect(retentionOf(undefined)).toEqual({ P0: 365, P1: 365, P2: 365, none: 365 });
  const policy = RoutingConfig.parse({
    routing_policy: {
      security: {
        P0: { allowed_layers: ["L1"], audit_retention_days: 1095 },
        P2: { allowed_layers: ["L1"], audit_retention_days: 90 },
      },
    },
    deployment: { security_policy: { audit_retention_days: 7 } },
  });
  expect(retentionOf(policy)).toEqual({ P0: 1095, P1: 31, P2: 90, none: 1095 });
});

test("an event is as old as it says, but no younger than its bundle; one without a time is as old as its bundle", () => {
  const entry = (time: string): AuditEntry => ({
    sequence: 1,
    stream_sequence: 1,
    job_id: null,
    id: "a",
    source: "router/r1",
    type: "node_left",
    time,
    security_level: "P2",
    traceparent: null,
    data: {},
  });
  const days = (entry_: Parameters<typeof isExpired>[0], nowDays: number) =>
    isExpired(entry_, RETENTION, timeOf(entry_, START_MS, START_MS - DAY_MS), START_MS + nowDays * DAY_MS);
  expect(days(entry("2026-01-01T00:00:00Z"), 30)).toBe(false);
  expect(days(entry("2026-01-01T00:00:00Z"), 32)).toBe(true);
  // A clock that was far ahead keeps nothing for ever.
  expect(days(entry("2099-01-01T00:00:00Z"), 32)).toBe(true);
  // One that was far behind loses nothing.
  expect(days(entry("1970-01-01T00:00:00Z"), 29)).toBe(false);
  const rejected = {
    sequence: 1,
    stream_sequence: 1,
    job_id: null,
    rejected: { subject: "x", size_bytes: 1, reason: "y" },
  };
  expect([days(rejected, 999), days(rejected, 1001)]).toEqual([false, true]);
});
