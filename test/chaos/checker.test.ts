import { expect, test } from "vitest";
import { check, type History, type StoredEvent } from "./checker.ts";
import type { ClientJob } from "./history.ts";

const T0 = Date.parse("2026-11-25T12:00:00Z");

function job(overrides: Partial<ClientJob> = {}): ClientJob {
  return {
    job: "01JOB0000000000000000000A1",
    way: "mesh",
    dataClass: "P1",
    stream: true,
    sentMs: T0,
    limitMs: 10_000,
    acceptedMs: T0 + 20,
    endings: [{ atMs: T0 + 150, how: "answer", whole: true, meshJob: undefined }],
    ...overrides,
  };
}

/** A history in which one job went as it should; what a test plants in it must be found. */
function history(one: ClientJob = job(), overrides: Partial<History> = {}): History & { stream: StoredEvent[] } {
  const event = (streamSequence: number, type: string, atMs: number, data: object) => ({
    streamSequence,
    storedMs: atMs,
    id: `e${streamSequence}`,
    type,
    traceparent: null,
    data: { job_id: one.job, ...data },
  });
  const stream = [
    event(1, "job_decided", T0 + 10, { decision: { security_level: one.dataClass } }),
    event(2, "job_ended", T0 + 140, { status: "finished" }),
  ];
  const run = { run: "1-1", job: one.job, dataClass: one.dataClass, running: 1, file: "runtime-1.ndjson" };
  return {
    jobs: [one],
    faults: [],
    stream,
    log: stream.map(({ id, streamSequence }) => ({ stream_sequence: streamSequence, id })),
    acknowledged: ["e2"],
    signed: [{ auditor: "auditor-1", problems: [], ids: ["e1", "e2"] }],
    runs: [
      { ...run, note: "began", atMs: T0 + 20 },
      { ...run, note: "ended", atMs: T0 + 140, running: 0 },
    ],
    slots: 2,
    queueCap: 3,
    ...overrides,
  } as History & { stream: StoredEvent[] };
}

const ending = (how: string, atMs = T0 + 150) => ({ atMs, how, whole: how === "answer", meshJob: undefined });
const fault = { name: "kill -9 router", target: "router-1", injectedMs: T0, releasedMs: T0 + 100, healedMs: T0 + 1000 };
const violations = (given: History) => check(given).violations.join("\n");

test("a job that was decided, recorded, run and answered once is as it should be", () => {
  expect(check(history())).toEqual({ violations: [], explained: new Map(), mostAtOnce: 1 });
});

test("silence, no word at all, two endings, a late one and half an answer are found", () => {
  expect(violations(history(job({ endings: [ending("silence")] })))).toContain("silence");
  expect(violations(history(job({ endings: [] })))).toContain("no ending at all");
  expect(violations(history(job({ endings: [ending("answer"), ending("node_lost")] })))).toContain("2 endings");
  expect(violations(history(job({ endings: [ending("silence"), ending("answer"), ending("answer")] })))).toContain(
    "2 endings",
  );
  expect(violations(history(job({ endings: [ending("answer", T0 + 20_000)] })))).toContain("ended after 20000 ms");
  expect(violations(history(job({ endings: [{ ...ending("answer"), whole: false }] })))).toContain("not whole");
});

test("an error has a cause, and says that trying again is right", () => {
  const failed = job({ endings: [ending("node_lost")] });
  expect(violations(history(failed))).toContain("node_lost, and nothing was wrong");
  expect(violations(history(failed, { faults: [fault] }))).toBe("");
  expect(violations(history(job({ endings: [ending("internal")] }), { faults: [fault] }))).toContain(
    "tells its caller not to try again",
  );
  const cancelled = job({ expects: "cancelled", endings: [ending("cancelled")] });
  expect(violations(history(cancelled))).toBe("");
});

test("a client by hand may hear nothing while something is broken, and only then", () => {
  const silent = job({ way: "hand", endings: [ending("silence", T0 + 12_500)] });
  expect(violations(history(silent))).toContain("silence");
  const { explained, violations: none } = check(history(silent, { faults: [fault] }));
  expect(none).toEqual([]);
  expect([...explained.keys()]).toEqual(["silence by hand after acceptance, during: kill -9 router"]);
});

test("by hand frames may be missing, in order and while something is broken; none comes twice or late", () => {
  const cut = (seqs: string) => job({ way: "hand", endings: [{ ...ending("answer"), whole: false, seqs }] });
  const { explained, violations: found } = check(history(cut("0 1 2 6 7"), { faults: [fault] }));
  expect(found).toEqual([]);
  expect([...explained.keys()]).toEqual(["frames missing by hand, as their numbers show, during: kill -9 router"]);
  expect(violations(history(cut("0 1 2 6 7")))).toContain("not whole");
  for (const seqs of ["0 1 2 3 4", "0 2 1 6 7", "0 1 1 6 7", ""])
    expect(violations(history(cut(seqs), { faults: [fault] }))).toContain("not whole");
  const byMesh = { ...cut("0 1 2 6 7"), way: "mesh" as const };
  expect(violations(history(byMesh, { faults: [fault] }))).toContain("not whole");
});

test.each(["freeze gateway", "network cut"])("by HTTP nothing may be heard only in the midst of a %s", (name) => {
  const silent = job({ way: "http", limitMs: 60, endings: [ending("silence", T0 + 2560)] });
  const away = (injectedMs: number, releasedMs: number) => ({ faults: [{ ...fault, name, injectedMs, releasedMs }] });
  const { explained, violations: found } = check(history(silent, away(T0 - 500, T0 + 5000)));
  expect(found.join()).not.toContain("silence");
  expect([...explained.keys()]).toContain(`silence by HTTP, all the time of: ${name}`);
  for (const [from, to] of [
    [T0 + 10, T0 + 5000],
    [T0 - 500, T0 + 2000],
  ] as const)
    expect(violations(history(silent, away(from, to)))).toContain("silence");
  expect(violations(history(silent, { faults: [fault] }))).toContain("silence");
  expect(violations(history({ ...silent, way: "mesh" }, away(T0 - 500, T0 + 5000)))).toContain("silence");
});

test("P0 and P1 run only once their decision is stored", () => {
  const late = history();
  late.stream[0] = { ...(late.stream[0] as StoredEvent), storedMs: T0 + 60 };
  expect(violations(late)).toContain("ran 40 ms before its decision was stored");
  const none = history(job(), { stream: [], log: [] });
  expect(violations(none)).toContain("ran, and no decision is in the record");
  expect(violations(none)).toContain("answered, and no ending in the record");
});

test("a class that goes further than it was sent is found, whatever the record says", () => {
  const cloud = history();
  expect(violations({ ...cloud, runs: cloud.runs.map((run) => ({ ...run, file: "runtime-cloud.ndjson" })) })).toContain(
    "ran in the cloud",
  );
  const widened = history();
  const event = widened.stream[0] as StoredEvent;
  widened.stream[0] = { ...event, data: { ...event.data, decision: { security_level: "P2" } } };
  expect(violations(widened)).toContain("decided as P2");
  expect(violations({ ...cloud, runs: cloud.runs.map((run) => ({ ...run, dataClass: "P2" })) })).toContain(
    "ran as P2, sent as P1",
  );
});

test("two endings in the record are a violation unless something was broken", () => {
  const twice = history();
  const last = twice.stream[1] as StoredEvent;
  const stream = [...twice.stream, { ...last, streamSequence: 3, id: "e3" }];
  const log = stream.map(({ id, streamSequence }) => ({ stream_sequence: streamSequence, id }));
  expect(violations({ ...twice, stream, log })).toContain("2 endings in the record");
  const signed = [{ auditor: "auditor-1", problems: [], ids: ["e1", "e2", "e3"] }];
  expect(violations({ ...twice, stream, log, signed, faults: [fault] })).toBe("");
});

test("more jobs than slots, or than the queue's cap, are counted", () => {
  const { runs } = history();
  const began = runs[0] as History["runs"][number];
  expect(violations(history(job(), { runs: [{ ...began, running: 3 }] }))).toContain("3 jobs at once, it has 2 slots");
  const many = Array.from({ length: 4 }, (_, i) => ({ ...began, run: `1-${i}` }));
  expect(violations(history(job(), { runs: many }))).toContain("4 jobs of the queue at once");
});

test("what a killed runtime had in hand does not count for ever", () => {
  const { runs } = history();
  const began = runs[0] as History["runs"][number];
  const lives = ["1", "2", "3", "4", "5"].map((life) => ({ ...began, run: `${life}-1` }));
  expect(check(history(job(), { runs: lives })).mostAtOnce).toBe(1);
});

test("an event that the log lacks, or has twice, is found", () => {
  const whole = history();
  const ids = ["e1", "e2"];
  const broken = [{ auditor: "auditor-2", problems: ["tile/0/000: missing"], ids }];
  expect(violations({ ...whole, signed: broken })).toContain("the signed log of auditor-2 does not verify");
  expect(violations({ ...whole, log: whole.log.slice(1) })).toContain("1 events of the stream are not in the log");
  expect(violations({ ...whole, log: [...whole.log, ...whole.log.slice(1)] })).toContain("twice");
});

test("an event that was acknowledged and is not in an auditor's tiles, or there twice, is found", () => {
  const whole = history();
  const signed = (...ids: (string | undefined)[]) => [{ auditor: "auditor-2", problems: [], ids }];
  const found = (...ids: (string | undefined)[]) => violations({ ...whole, signed: signed(...ids) });
  expect(found("e1", "e2")).toBe("");
  expect(found("e1")).toContain("1 events were acknowledged and are not in the log of auditor-2: e2");
  expect(found("e1", "e2", "e2")).toContain("1 events are in the log of auditor-2 twice: e2");
  expect(found("e2", "e1")).toContain("the tiles of auditor-2 hold 2 entries, not the 2 of the segments, from 0 on");
});
