import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { EventData } from "../../bus-schemas/index.ts";
import { decided, ended, hop, inputs } from "../../test/kit/recorded-jobs.ts";
import { BEGAN_MS, startLog, type RecordedLog } from "../../test/kit/recorded-log.ts";
import { tempDir, type TempDir } from "../../test/kit/temp-dir.ts";
import { NO_KEYS, StorageKeys, newStorageKey } from "../at-rest/storage-keys.ts";
import { GapFinder } from "./gaps.ts";
import type { Gap } from "./gap.ts";
import { LiveIndex } from "./live-index.ts";

const DEADLINE_MS = BEGAN_MS + 30_000;
const MINUTE = 60_000;

let dir: TempDir;
let log: RecordedLog;
let live: LiveIndex;
let finder: GapFinder | undefined;
let keys = NO_KEYS;
let nowMs: number;

beforeEach(async () => {
  dir = tempDir("tiermesh-gaps-");
  log = await startLog(dir.path, { keys });
  live = new LiveIndex(dir.path, keys);
  finder = undefined;
  nowMs = BEGAN_MS;
});
afterEach(async () => {
  live.close();
  await log.close();
  await dir.remove();
});

/** What is found a minute later; what is found is put into the log, as the auditor does. */
async function look(): Promise<Gap[]> {
  await log.cover();
  await live.follow(new AbortController().signal);
  if (live.index === undefined) throw new Error("no index");
  finder ??= new GapFinder(live.index, live.log);
  nowMs += MINUTE;
  const gaps = finder.find(nowMs);
  for (const gap of gaps) await log.record("audit_gap", gap, { source: "auditor/auditor" });
  return gaps;
}

/** What two looks find, the second of which is a minute behind all that the first saw. */
const settle = async () => [...(await look()), ...(await look())];
const facts = (gaps: Gap[]) =>
  gaps.map(({ kind, job_id, source, counted, said, found }) => [kind, job_id ?? source, counted, said, found]);
const due = (jobId: string): EventData<"job_decided"> => ({
  ...decided(jobId, "gpu-1", "L1"),
  inputs: inputs(jobId, DEADLINE_MS),
});

describe.each([
  ["plain", NO_KEYS],
  ["encrypted", new StorageKeys([newStorageKey()])],
])("of a log that is %s,", (_, given) => {
  beforeAll(() => {
    keys = given;
  });

  test("a job without an ending is a gap once its deadline and the grace have passed, and only once, also for the next auditor", async () => {
    await log.record("job_decided", due("job-lost"));
    await log.record("job_decided", due("job-fine"));
    await log.record("job_ended", ended("job-fine", "gpu-1", "L1"));
    await log.record("job_decided", due("job-dead"));
    await log.record("job_dead", {
      job_id: "job-dead",
      queue: "rag",
      attempts: 3,
      node_id: null,
      error: ended("x", null, null, "failed").error as never,
    });
    expect(await look()).toEqual([]);
    expect(facts(await look())).toEqual([["job_unended", "job-lost", null, null, null]]);
    expect(await look()).toEqual([]);
    finder = undefined;
    expect(await settle()).toEqual([]);
  });

  test("a job that a later try gave more time is not missed before that", async () => {
    await log.record("job_decided", due("job-long"));
    const later = inputs("job-long", BEGAN_MS + 10 * MINUTE);
    await log.record("job_redispatched", { ...hop("job-long", "gpu-1", "gpu-2"), inputs: later });
    for (let minute = 1; minute <= 11; minute++) expect(await look()).toEqual([]);
    expect(facts(await look())).toEqual([["job_unended", "job-long", null, null, null]]);
  });

  test("a run that nobody decided is a gap when it has been in the log for a while, a cloud's by its own name", async () => {
    await log.record("job_ended", ended("job-cloud", "cloud-1", "L2"), { source: "agent/cloud-1" });
    await log.record("job_ended", ended("job-house", "gpu-1", "L1"), { source: "agent/gpu-1" });
    await log.record("job_ended", ended("job-late", "gpu-1", "L1"), { source: "agent/gpu-1" });
    await log.record("job_ended", ended("job-refused", null, null, "refused"), { source: "router/r1" });
    expect(await look()).toEqual([]);
    // Its decision waited in a spool.
    await log.record("job_decided", decided("job-late", "gpu-1", "L1"));
    expect(facts(await look())).toEqual([
      ["egress_undecided", "job-cloud", null, null, null],
      ["run_undecided", "job-house", null, null, null],
    ]);
    expect(await settle()).toEqual([]);
  });

  const report = (
    over: Partial<EventData<"counts_reported">>,
    type = "job_ended",
    events?: { made: number; stored: number },
  ): EventData<"counts_reported"> => ({
    boot_id: "boot-1",
    report: 1,
    since_unix_ms: BEGAN_MS,
    events: events === undefined ? {} : { [type]: events },
    left_over: 0,
    counts: {},
    ...over,
  });
  const from = { source: "agent/gpu-1" };

  async function runs(count: number, source = "agent/gpu-1"): Promise<void> {
    for (let i = 0; i < count; i++) {
      const id = `job-${log.segments.sequence}-of-many`;
      await log.record("job_decided", decided(id, "gpu-1", "L1"));
      await log.record("job_ended", ended(id, "gpu-1", "L1"), { source });
    }
  }

  test("events that the stream acknowledged and the log has not are told with how many, once, and again when there are more", async () => {
    await log.record("counts_reported", report({ report: 0 }), from);
    await runs(3);
    await log.record("counts_reported", report({}, "job_ended", { made: 6, stored: 5 }), from);
    expect(facts(await settle())).toEqual([["events_missing", "agent/gpu-1", "job_ended", 5, 3]]);
    await log.record("counts_reported", report({ report: 2 }, "job_ended", { made: 6, stored: 5 }), from);
    expect(await settle()).toEqual([]);
    await log.record("counts_reported", report({ report: 3 }, "job_ended", { made: 9, stored: 9 }), from);
    expect(facts(await settle())).toEqual([["events_missing", "agent/gpu-1", "job_ended", 9, 3]]);
  });

  test("what was under way at either report, or lay in a spool before, is no gap", async () => {
    await runs(1);
    await log.record("counts_reported", report({ report: 0, left_over: 2 }, "job_ended", { made: 2, stored: 1 }), from);
    await runs(1);
    await runs(2);
    await runs(4);
    await log.record("counts_reported", report({ left_over: 2 }, "job_ended", { made: 7, stored: 6 }), from);
    expect(await settle()).toEqual([]);
  });

  test("events in the name of a process that did not make them are a gap; another process's are its own", async () => {
    await log.record("counts_reported", report({ report: 0 }), from);
    await runs(2);
    await runs(5, "agent/gpu-2");
    await log.record("counts_reported", report({}, "job_ended", { made: 1, stored: 1 }), from);
    expect(facts(await settle())).toEqual([["events_surplus", "agent/gpu-1", "job_ended", 1, 2]]);
  });

  test("more runs than decisions, more requests to a provider, more dispatches, more finished answers: each is a gap", async () => {
    for (const source of ["agent/gpu-1", "router/r1", "gateway/host"])
      await log.record("counts_reported", report({ report: 0 }), { source });
    await runs(2);
    await log.record("job_redispatched", hop("job-that-moved", "gpu-9", "gpu-1"));
    const counts = { started: 3, provider_requests: 4, dispatched: 3, finished: 3, other: 99 };
    for (const source of ["agent/gpu-1", "router/r1", "gateway/host"])
      await log.record("counts_reported", report({ counts }), { source });
    expect(await look()).toEqual([]);
    expect(facts(await look())).toEqual([
      ["counts_disagree", "agent/gpu-1", "provider_requests", 4, 3],
      ["counts_disagree", "gateway/host", "finished", 3, 2],
    ]);
  });

  test("a life that began before the reports that are read is compared from the first one on", async () => {
    await log.record(
      "counts_reported",
      report({ report: 41, counts: { started: 500 } }, "job_ended", { made: 500, stored: 500 }),
      from,
    );
    await runs(2);
    await log.record(
      "counts_reported",
      report({ report: 42, counts: { started: 502 } }, "job_ended", { made: 502, stored: 502 }),
      from,
    );
    expect(await settle()).toEqual([]);
    await log.record(
      "counts_reported",
      report({ report: 43, counts: { started: 503 } }, "job_ended", { made: 503, stored: 503 }),
      from,
    );
    expect(facts(await settle())).toEqual([
      ["events_missing", "agent/gpu-1", "job_ended", 3, 2],
      ["counts_disagree", "agent/gpu-1", "started", 3, 2],
    ]);
  });

  test("a clock that leaps ahead calls no job under way lost, and one that comes back from there still finds those that are", async () => {
    const at = (ms: number) => ({ atMs: ms });
    await log.record("job_decided", due("job-under-way"), at(DEADLINE_MS - MINUTE));
    expect(await look()).toEqual([]);
    nowMs = DEADLINE_MS - MINUTE;
    for (const leapMs of [24 * 60 * MINUTE, 10 * 365 * 24 * 60 * MINUTE]) {
      await log.cover();
      await live.follow(new AbortController().signal);
      expect(finder?.find(nowMs + leapMs, nowMs)).toEqual([]);
      expect(finder?.find(nowMs - leapMs, nowMs)).toEqual([]);
    }
    nowMs = DEADLINE_MS + 2 * MINUTE;
    await log.record("node_left", { node_id: "n1", layer: "L1", reason: null }, at(nowMs));
    expect(facts(await look())).toEqual([["job_unended", "job-under-way", null, null, null]]);
  });
});
