import { appendFile, open, readFile, readdir, truncate, writeFile } from "node:fs/promises";
import path from "node:path";
import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { AuditQuery, type AuditEntry, type LogEntry } from "../bus-schemas/index.ts";
import { tempDir, type TempDir } from "../test/kit/temp-dir.ts";
import { answerQuery } from "./query.ts";
import { SegmentLog, type SegmentFile, type SegmentLogOptions } from "./segment-log.ts";

const CREATED = "2026-01-01T00:00:00Z";
const opened: SegmentLog[] = [];
const folders: TempDir[] = [];
afterEach(async () => {
  for (const log of opened.splice(0)) await log.close();
  for (const folder of folders.splice(0)) await folder.remove();
});

function folder(): string {
  const dir = tempDir("tiermesh-audit-");
  folders.push(dir);
  return dir.path;
}

async function openLog(dir: string, options: SegmentLogOptions = {}): Promise<SegmentLog> {
  const log = await SegmentLog.open(dir, options);
  opened.push(log);
  if (log.streamCreated === undefined) await log.startStream(CREATED, 0);
  return log;
}

/** `count` entries that follow what the log has. */
function next(log: SegmentLog, count = 1, jobId: string | null = null): LogEntry[] {
  return Array.from({ length: count }, (_, i) => ({
    sequence: log.sequence + 1 + i,
    stream_sequence: log.streamSequence + 1 + i,
    job_id: jobId,
    id: `id-${log.sequence + 1 + i}`,
    source: 'say "hi"\\',
    type: jobId === null ? ("node_left" as const) : ("job_ended" as const),
    time: "2026-01-02T03:04:05Z",
    security_level: null,
    traceparent: null,
    data: { text: "ünï\ncödé" },
  }));
}

async function entriesOnDisk(dir: string): Promise<AuditEntry[]> {
  const files = (await readdir(dir)).filter((name) => /^segment-\d+\.jsonl$/.test(name)).toSorted();
  const texts = await Promise.all(files.map((name) => readFile(path.join(dir, name), "utf8")));
  return texts.flatMap((text) =>
    text
      .trimEnd()
      .split("\n")
      .slice(1)
      .map((line) => JSON.parse(line) as AuditEntry),
  );
}

const file = (dir: string, number = 1) => path.join(dir, `segment-00000${number}.jsonl`);
const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

test("what was appended is there after the log is opened again, and the log goes on behind it", async () => {
  const dir = folder();
  const log = await openLog(dir);
  await log.append(next(log, 3));
  await log.close();
  const again = await openLog(dir);
  expect([again.sequence, again.streamSequence, again.streamCreated]).toEqual([3, 3, CREATED]);
  await again.append(next(again, 2));
  expect((await entriesOnDisk(dir)).map((entry) => entry.sequence)).toEqual(numbers(1, 5));
});

test("a last line torn at any byte is cut, and only that line", async () => {
  const dir = folder();
  const log = await openLog(dir);
  await log.append(next(log, 2));
  await log.append(next(log, 1));
  await log.close();
  const whole = await readFile(file(dir));
  const lastLine = whole.subarray(0, -1).lastIndexOf(10) + 1;
  for (let size = lastLine; size < whole.length; size++) {
    await writeFile(file(dir), whole.subarray(0, size));
    const again = await SegmentLog.open(dir);
    expect(again.sequence).toBe(2);
    await again.close();
    expect((await readFile(file(dir))).length).toBe(lastLine);
  }
  expect((await readdir(dir)).filter((name) => name.includes("damaged"))).toEqual([]);
});

test("garbage behind the good lines is cut, told, and set aside when it holds whole lines", async () => {
  const dir = folder();
  const log = await openLog(dir);
  await log.append(next(log, 2));
  await log.close();
  const garbage = `${"\0".repeat(50)}\n{"sequence":4,"stream_sequence":4,"job_id":null,"id":"x"}\n`;
  await appendFile(file(dir), garbage);
  const repairs: unknown[] = [];
  const again = await openLog(dir, { onRepair: (what) => repairs.push(what) });
  expect(again.sequence).toBe(2);
  expect(repairs).toEqual([{ file: file(dir), cut_bytes: garbage.length, set_aside: true }]);
  const aside = (await readdir(dir)).find((name) => name.includes("damaged")) ?? "";
  expect(await readFile(path.join(dir, aside), "utf8")).toBe(garbage);
});

test("a line broken in its middle ends what counts, although its head and end look good", async () => {
  const dir = folder();
  const log = await openLog(dir);
  await log.append(next(log, 3));
  await log.close();
  const lines = (await readFile(file(dir), "utf8")).split("\n");
  lines[2] = lines[2]?.replace('"data":{', '"data":{\0') ?? "";
  await writeFile(file(dir), lines.join("\n"));
  expect((await openLog(dir)).sequence).toBe(1);
});

test("a full segment is followed by a new one, numbered on", async () => {
  const dir = folder();
  const log = await openLog(dir, { segmentBytes: 4096 });
  for (let i = 0; i < 60; i++) await log.append(next(log));
  const names = (await readdir(dir)).toSorted();
  expect(names.length).toBeGreaterThan(2);
  expect((await entriesOnDisk(dir)).map((entry) => entry.sequence)).toEqual(numbers(1, 60));
  await log.close();
  expect((await openLog(dir)).sequence).toBe(60);
});

test("a crash between making a segment and writing its header leaves the log as before", async () => {
  const dir = folder();
  const log = await openLog(dir);
  await log.append(next(log, 2));
  await log.close();
  for (const torn of ["", '{"segment":2,"first_seq']) {
    await writeFile(file(dir, 2), torn);
    const again = await openLog(dir);
    expect(again.sequence).toBe(2);
    await again.append(next(again));
    await again.close();
    await truncate(file(dir), (await readFile(file(dir))).subarray(0, -1).lastIndexOf(10) + 1);
  }
});

test("a stream that was made anew starts a new segment and counts from one again", async () => {
  const dir = folder();
  const log = await openLog(dir);
  await log.append(next(log, 5));
  await log.startStream("2026-06-01T00:00:00Z", 0);
  await log.append(next(log, 2));
  expect((await entriesOnDisk(dir)).map((entry) => [entry.sequence, entry.stream_sequence])).toEqual([
    ...numbers(1, 5).map((n) => [n, n]),
    [6, 1],
    [7, 2],
  ]);
  await log.close();
  const again = await openLog(dir);
  expect([again.streamCreated, again.streamSequence]).toEqual(["2026-06-01T00:00:00Z", 2]);
});

test("a segment without a header is not guessed at but reported", async () => {
  const dir = folder();
  await writeFile(file(dir), "not ours\n");
  await expect(SegmentLog.open(dir)).rejects.toThrow(/segment-000001\.jsonl: its first line is no segment header/);
});

/** A disk on which the byte budget runs out in the middle of a write, as on a full one. */
function disk(room: { bytes: number }): NonNullable<SegmentLogOptions["openFile"]> {
  return async (name, flags) => {
    const real = await open(name, flags);
    const write = async (data: Buffer, offset: number, length: number, position: number) => {
      const fits = Math.min(length, room.bytes);
      if (fits === 0)
        throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC", syscall: "write" });
      room.bytes -= fits;
      return real.write(data, offset, fits, position);
    };
    return {
      write,
      truncate: (size: number) => real.truncate(size),
      datasync: () => real.datasync(),
      sync: () => real.sync(),
      close: () => real.close(),
    } as unknown as SegmentFile;
  };
}

test("on a disk that fills up in any byte of a write, the log stays whole and goes on when there is room", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 2500 }), async (bytes) => {
      const dir = folder();
      const room = { bytes };
      let stored = 0;
      for (let log: SegmentLog | undefined; stored < 8;) {
        try {
          log ??= await openLog(dir, { openFile: disk(room), segmentBytes: 800 });
          if (log.sequence !== stored) throw new RangeError(`${log.sequence} entries where ${stored} were stored`);
          await log.append(next(log, 2));
          stored = log.sequence;
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
          await log?.close();
          log = undefined;
          room.bytes = 100_000;
        }
      }
      expect((await entriesOnDisk(dir)).map((entry) => entry.sequence)).toEqual(numbers(1, 8));
    }),
    { numRuns: 60 },
  );
});

const ask = (log: SegmentLog, query: Record<string, unknown>) => answerQuery(log.index, AuditQuery.parse(query));

test("entries are found by job, type and position, before and after a restart", async () => {
  const dir = folder();
  let log = await openLog(dir, { segmentBytes: 2000 });
  for (let i = 1; i <= 20; i++) await log.append([...next(log, 1, i % 5 === 0 ? "job-aaaa" : null)]);
  for (const restarted of [false, true]) {
    if (restarted) {
      await log.close();
      log = await openLog(dir);
    }
    const first = log.index.first;
    const ofJob = await ask(log, { job_id: "job-aaaa" });
    expect(ofJob.events.map((entry) => entry.sequence)).toEqual([5, 10, 15, 20].filter((n) => n >= first));
    expect(ofJob.events[0]?.data).toEqual({ text: "ünï\ncödé" });
    expect((await ask(log, { limit: 3 })).events.map((entry) => entry.sequence)).toEqual([18, 19, 20]);
    const page = await ask(log, { after_sequence: 15, limit: 2 });
    expect([page.events.map((entry) => entry.sequence), page.next]).toEqual([[16, 17], 17]);
    expect((await ask(log, { type: "job_ended", after_sequence: 14, limit: 1 })).next).toBe(15);
    expect(await ask(log, { after_sequence: 20 })).toMatchObject({ events: [], next: 20 });
    expect(await ask(log, { after_sequence: 99 })).toMatchObject({ events: [], next: 99 });
    expect((await ask(log, { job_id: "job-none" })).events).toEqual([]);
  }
});

test("rejected messages take a position but are no events", async () => {
  const log = await openLog(folder());
  const rejected = { subject: "mesh.main.event.x.none", size_bytes: 3, reason: "the body is not JSON" };
  await log.append([{ sequence: 1, stream_sequence: 1, job_id: null, rejected }]);
  await log.append(next(log));
  const page = await ask(log, { after_sequence: 0 });
  expect([page.events.map((entry) => entry.sequence), page.next]).toEqual([[2], 2]);
});

test("a log longer than the index says from where it answers", async () => {
  const log = await openLog(folder(), { segmentBytes: 300, repeatWindow: 4 });
  for (let i = 0; i < 20; i++) await log.append(next(log));
  expect(log.index.first).toBeGreaterThan(10);
  const page = await ask(log, { after_sequence: 0, limit: 1 });
  expect(page.events[0]?.sequence).toBe(log.index.first);
  expect(page.note).toContain(`entries before ${log.index.first}`);
});
