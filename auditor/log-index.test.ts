import { readdir } from "node:fs/promises";
import { expect, test } from "vitest";
import { AuditQuery } from "../bus-schemas/index.ts";
import { tempDir } from "../test/kit/temp-dir.ts";
import { LogIndex } from "./log-index.ts";
import { SegmentLog } from "./segment-log.ts";
import type { EntryPlace } from "./segment.ts";

const place = (sequence: number, jobId: string | null): EntryPlace => ({
  sequence,
  streamSequence: sequence,
  jobId,
  type: sequence % 2 === 0 ? "job_ended" : "job_decided",
  key: `key-${sequence}`,
  offset: sequence * 100,
  length: 99,
});

test("with old segments their keys and jobs are forgotten, and what newer ones have of the same job stays", () => {
  const index = new LogIndex(2, 10);
  const jobs = (i: number) => ["job-long-1", `job-short-${i}`, null][i % 3] ?? null;
  for (let segment = 0; segment < 6; segment++) {
    index.addSegment(`segment-${segment}`, segment * 10 + 1, undefined);
    index.add(Array.from({ length: 10 }, (_, i) => place(segment * 10 + i + 1, jobs(segment * 10 + i + 1))));
  }
  // Two segments at least, and as many as hold ten entries before the newest one.
  expect([index.first, index.last]).toEqual([41, 60]);
  expect([index.has("key-40", 41), index.has("key-41", 51), index.has("key-41", 52)]).toEqual([false, true, false]);
  const find = (about: object) => index.select(AuditQuery.parse(about)).map(({ sequence }) => sequence);
  expect(find({ job_id: "job-long-1" })).toEqual([42, 45, 48, 51, 54, 57, 60]);
  expect(find({ job_id: "job-short-40" })).toEqual([]);
  expect(find({ job_id: "job-short-43" })).toEqual([43]);
  expect(find({ type: "job_ended", after_sequence: 52, limit: 2 })).toEqual([54, 56]);
  expect(find({ type: "node_left" })).toEqual([]);
  index.dropBefore(51);
  expect(find({ limit: 3, after_sequence: 0 })).toEqual([51, 52, 53]);
  expect(find({ job_id: "job-long-1" })).toEqual([51, 54, 57, 60]);
  expect(index.select(AuditQuery.parse({ limit: 1 }))).toMatchObject([{ file: "segment-5", offset: 6000, length: 99 }]);
});

test("a segment ends with so many entries, too, however small they are: memory goes by entries", async () => {
  await using dir = tempDir("tiermesh-log-index-");
  const log = await SegmentLog.open(dir.path);
  await log.startStream("2026-01-01T00:00:00Z", 0);
  const rejected = { subject: "x", size_bytes: 1, reason: "y" };
  for (let at = 1; at <= 65_536 + 4096; at += 4096)
    await log.append(
      Array.from({ length: 4096 }, (_, i) => ({ sequence: at + i, stream_sequence: at + i, job_id: null, rejected })),
    );
  await log.close();
  expect((await readdir(dir.path)).length).toBe(2);
});
