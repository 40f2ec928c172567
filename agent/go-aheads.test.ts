import { afterEach, expect, test, vi } from "vitest";
import { HEADERS } from "../bus-schemas/index.ts";
import { agentParts } from "../test/kit/agent-parts.ts";

const ASKED = { [HEADERS.goAhead]: "1" };
const VERDICT = "mesh.main.job.verdict.";

afterEach(() => void vi.useRealTimers());

/** An agent whose routers answer only when the test says so. */
function guarded() {
  vi.useFakeTimers();
  const kit = agentParts({ slots: 2, inbox: "_INBOX.agent" });
  const questions = () => kit.bus.on(VERDICT).filter((_, i) => kit.verdicts()[i]?.type === "accepted");
  const answer = (go: boolean) => kit.bus.deliver(questions().at(-1)?.reply ?? "", { go });
  const gone = () => kit.bus.deliver(questions().at(-1)?.reply ?? "", new Uint8Array(), { code: 503 });
  const told = () => kit.frames().map(({ type }) => type);
  return { ...kit, questions, answer, gone, told };
}

test("a job runs at once, and nothing of it is told or recorded before its router says that it is still this node's", () => {
  const { submit, work, answer, told, events, seqs } = guarded();
  submit({ prompt: "hello", stream: true }, ASKED);
  work.runs[0]?.say("one");
  work.runs[0]?.say("two");
  work.runs[0]?.done();
  expect([told(), events.of("job_ended")]).toEqual([[], []]);
  answer(true);
  expect(told()).toEqual(["accepted", "delta", "delta", "end"]);
  expect(seqs()).toEqual(["0", "1", "2", "3"]);
  expect(events.of("job_ended")).toMatchObject([{ status: "finished" }]);
});

test("a job that went elsewhere meanwhile is dropped: nobody hears of it, its run is stopped and its place free", () => {
  const { submit, work, answer, told, events, intake, desk } = guarded();
  submit({ prompt: "hello", stream: true }, ASKED);
  work.runs[0]?.say("one");
  answer(false);
  expect([told(), events.of("job_ended"), intake.jobs.size, desk.load().running]).toEqual([[], [], 0, 0]);
  expect(work.runs[0]?.cancelled).toBe(true);
});

test("a router that does not answer is asked again; one that is gone before it ever did may have asked another node", () => {
  const { submit, questions, gone, told, intake } = guarded();
  submit({ prompt: "hello", stream: true }, ASKED);
  vi.advanceTimersByTime(1600);
  expect(questions()).toHaveLength(4);
  expect(new Set(questions().map(({ reply }) => reply)).size).toBe(1);
  gone();
  expect([told(), intake.jobs.size]).toEqual([[], 0]);
  vi.advanceTimersByTime(5000);
  expect(questions()).toHaveLength(4);
});

test("after the bus was away what runs is asked for anew: what was said meanwhile comes after the answer, none of it is lost", () => {
  const { submit, work, answer, told, bus, intake, seqs } = guarded();
  submit({ prompt: "hello", stream: true }, ASKED);
  answer(true);
  work.runs[0]?.say("one");
  bus.away = true;
  work.runs[0]?.say("two");
  work.runs[0]?.done();
  expect(told()).toEqual(["accepted", "delta"]);
  bus.away = false;
  intake.catchUp();
  answer(true);
  expect(told()).toEqual(["accepted", "delta", "delta", "end"]);
  expect(seqs()).toEqual(["0", "1", "2", "3"]);
});

test("a router that is gone later asks nobody else: the job goes on", () => {
  const { submit, work, answer, gone, told, intake } = guarded();
  submit({ prompt: "hello", stream: true }, ASKED);
  answer(true);
  intake.catchUp();
  work.runs[0]?.done();
  gone();
  expect(told()).toEqual(["accepted", "end"]);
});

test("a process that stood still asks before it says anything more", () => {
  const { submit, work, answer, told, questions } = guarded();
  submit({ prompt: "hello", stream: true }, ASKED);
  answer(true);
  // As after SIGSTOP: the clock is further on, and no timer has run.
  vi.setSystemTime(Date.now() + 5000);
  const now = performance.now();
  vi.spyOn(performance, "now").mockImplementation(() => now + 5000);
  work.runs[0]?.say("one");
  expect([told(), questions().length]).toEqual([["accepted"], 2]);
  answer(false);
  expect(told()).toEqual(["accepted"]);
  vi.restoreAllMocks();
});

test("an ending long after the last go-ahead is asked for, one soon after it is not", () => {
  for (const [afterMs, asked] of [
    [500, 1],
    [1500, 2],
  ] as const) {
    const { submit, work, answer, questions, told } = guarded();
    submit({ prompt: "hello", stream: true }, ASKED);
    answer(true);
    vi.advanceTimersByTime(afterMs);
    work.runs[0]?.done();
    expect(questions()).toHaveLength(asked);
    answer(true);
    expect(told().filter((type) => type !== "working")).toEqual(["accepted", "end"]);
  }
});

test("a cancel of the caller's is told when the router has said whose the job is; the run stops at once", () => {
  const { submit, work, answer, told, bus } = guarded();
  submit({ prompt: "hello", stream: true }, ASKED);
  bus.deliver("mesh.main.job.cancel.job-00000001", new Uint8Array());
  expect([work.runs[0]?.cancelled, told()]).toEqual([true, []]);
  answer(true);
  expect(told()).toEqual(["accepted", "end"]);
});

test("a router that asks nothing of it hears a plain accepted, and the caller at once", () => {
  const { submit, questions, told } = guarded();
  submit({ prompt: "hello", stream: true });
  expect(questions().map(({ reply }) => reply)).toEqual([undefined]);
  expect(told()).toEqual(["accepted"]);
});

test("a job that nobody answers for is dropped some seconds after its deadline", () => {
  const { submit, told, intake } = guarded();
  submit({ prompt: "hello", stream: true }, { ...ASKED, [HEADERS.deadline]: String(Date.now() + 1000) });
  vi.advanceTimersByTime(7000);
  expect([told(), intake.jobs.size]).toEqual([[], 0]);
});

test.each([3_600_000, -3_600_000])("a wall clock that is set by %s ms neither drops a job nor ends it", (ms) => {
  const { submit, told, answer, work, intake } = guarded();
  submit({ prompt: "hello", stream: true }, { ...ASKED, [HEADERS.deadline]: String(Date.now() + 60_000) });
  vi.setSystemTime(Date.now() + ms);
  vi.advanceTimersByTime(3000);
  expect(intake.jobs.size).toBe(1);
  answer(true);
  work.runs[0]?.say("one");
  work.runs[0]?.done();
  expect(told()).toEqual(["accepted", "delta", "end"]);
});

test("an answer that lay in the socket while this process stood still is too old: what it is asked after that counts", () => {
  const { submit, work, questions, bus, told, intake } = guarded();
  submit({ prompt: "hello", stream: true }, ASKED);
  work.runs[0]?.say("one");
  const before = questions().at(-1)?.reply ?? "";
  intake.catchUp();
  bus.deliver(before, { go: true });
  expect(told()).toEqual([]);
  const after = questions().at(-1)?.reply ?? "";
  expect(after).not.toBe(before);
  bus.deliver(after, { go: true });
  expect(told()).toEqual(["accepted", "delta"]);
});
