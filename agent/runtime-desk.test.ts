import { expect, test } from "vitest";
import { Load, RuntimeRecord } from "../bus-schemas/index.ts";
import type { Job } from "./job.ts";
import { RuntimeDesk } from "./runtime-desk.ts";
import { FakeWork, agentParts, runtimeState } from "../test/kit/agent-parts.ts";
import { runtimeJob } from "../test/kit/runtime-job.ts";

/** An accepted job as the desk sees it. */
function fakeJob(desk: RuntimeDesk, jobId: string, model = "tiny") {
  const failures: string[] = [];
  const job = {
    facts: { ...runtimeJob({ jobId, model }), promptTokens: 10 },
    prefilling: true,
    stop: undefined as (() => void) | undefined,
    started: (stop: () => void) => void (job.stop = stop),
    onChunk: () => undefined,
    fail: (error: { code: string }) => {
      failures.push(error.code);
      desk.release(job as unknown as Job);
    },
  };
  return { job: job as unknown as Job, failures, stop: () => job.stop };
}

function setup(...states: Parameters<RuntimeDesk["update"]>[0]) {
  const work = new FakeWork();
  const desk = new RuntimeDesk(() => work);
  desk.update(states);
  return { work, desk };
}

const started = (work: FakeWork) => work.runs.map(({ job }) => job.jobId);

test("slots run at once, the others wait and start first come, first served", () => {
  const { work, desk } = setup(runtimeState("ollama", ["tiny"], { slots: 2 }));
  const jobs = ["a", "b", "c", "d"].map((id) => fakeJob(desk, id));
  for (const { job } of jobs) desk.enqueue(job);
  expect(started(work)).toEqual(["a", "b"]);
  expect(desk.seats("tiny")).toEqual({ slots: 2, running: 2, queued: 2 });
  desk.release(jobs[1]?.job as Job);
  expect(started(work)).toEqual(["a", "b", "c"]);
  desk.release(jobs[3]?.job as Job);
  desk.release(jobs[0]?.job as Job);
  expect(started(work)).toEqual(["a", "b", "c"]);
  expect(desk.seats("tiny")).toEqual({ slots: 2, running: 1, queued: 0 });
  expect(desk.load().pending_prefill_tokens).toBe(10);
});

test("stopping a started job cancels its own run", () => {
  const { work, desk } = setup(runtimeState("ollama", ["tiny"], { slots: 2 }));
  const [first, second] = [fakeJob(desk, "a"), fakeJob(desk, "b")];
  desk.enqueue(first.job);
  desk.enqueue(second.job);
  second.stop()?.();
  expect(work.runs.map(({ cancelled }) => cancelled)).toEqual([false, true]);
});

test("jobs that wait for a runtime that is gone fail at once; those that run are left to it", () => {
  const { work, desk } = setup(runtimeState("ollama", ["tiny"]));
  const [running, waiting, last] = [fakeJob(desk, "a"), fakeJob(desk, "b"), fakeJob(desk, "c")];
  for (const { job } of [running, waiting, last]) desk.enqueue(job);
  desk.update([]);
  expect([running.failures, waiting.failures, last.failures]).toEqual([[], ["runtime_failed"], ["runtime_failed"]]);
  expect(started(work)).toEqual(["a"]);
  expect(desk.seats("tiny")).toBeUndefined();
  expect(desk.models).toEqual([]);
  expect(desk.load()).toMatchObject({ slots: 0, running: 1, queued: 0 });
  expect(desk.runtimes).toMatchObject([{ name: "ollama", healthy: false }]);
  desk.release(running.job);
  desk.update([]);
  expect(desk.runtimes).toEqual([]);
});

test("a runtime that comes back takes jobs again", () => {
  const { work, desk } = setup(runtimeState("ollama", ["tiny"]));
  desk.update([]);
  desk.update([runtimeState("ollama", ["tiny"])]);
  desk.enqueue(fakeJob(desk, "a").job);
  expect(started(work)).toEqual(["a"]);
});

test("more slots start those that wait; fewer end nobody", () => {
  const { work, desk } = setup(runtimeState("ollama", ["tiny"]));
  for (const id of ["a", "b", "c"]) desk.enqueue(fakeJob(desk, id).job);
  desk.update([runtimeState("ollama", ["tiny"], { slots: 2 })]);
  expect(started(work)).toEqual(["a", "b"]);
  desk.update([runtimeState("ollama", ["tiny"], { slots: 1 })]);
  expect(desk.seats("tiny")).toEqual({ slots: 1, running: 2, queued: 1 });
});

test("a job for a model that has just gone ends instead of hanging", () => {
  const { desk } = setup(runtimeState("ollama", ["tiny"]));
  const late = fakeJob(desk, "a", "other");
  desk.enqueue(late.job);
  expect(late.failures).toEqual(["no_node"]);
});

test("of several runtimes with a model the healthy one with the most free slots runs it, the diagnostic one last", () => {
  const { work, desk } = setup(
    runtimeState("loopback", ["tiny"], { slots: 100, diagnostic: true }),
    runtimeState("ill", ["tiny"], { slots: 50, healthy: false }),
    runtimeState("small", ["tiny"], { slots: 1 }),
    runtimeState("big", ["tiny"], { slots: 3 }),
  );
  expect(desk.placeOf("tiny").diagnostic).toBe(false);
  for (const id of ["a", "b", "c", "d"]) desk.enqueue(fakeJob(desk, id).job);
  expect(work.runs.map(({ runtime }) => runtime)).toEqual(["big", "big", "small", "big"]);
  expect(desk.load()).toMatchObject({ slots: 4, running: 4 });
  desk.update([runtimeState("loopback", ["tiny"], { slots: 100, diagnostic: true })]);
  expect(desk.placeOf("tiny").diagnostic).toBe(true);
});

test("the diagnostic runtime's slots count only where there is no other", () => {
  const diagnostic = runtimeState("loopback", ["echo"], { slots: 9, diagnostic: true });
  expect(setup(diagnostic).desk.load().slots).toBe(9);
  expect(setup(diagnostic, runtimeState("ollama", ["tiny"])).desk.load().slots).toBe(1);
});

test("what the desk says of itself fits the record", () => {
  const { desk } = agentParts();
  expect(Load.parse(desk.load())).toEqual(desk.load());
  for (const record of desk.runtimes) expect(RuntimeRecord.parse(record)).toEqual(record);
});

test("who asks for a model that is not in memory is told how long loading takes", () => {
  const state = runtimeState("ollama", ["tiny"]);
  const { desk } = setup({
    ...state,
    models: state.models.map((model) => ({ ...model, loaded: false, size_gb: 4, load_gb_per_second: 1 })),
  });
  expect(desk.placeOf("tiny")).toEqual({ diagnostic: false, coldStartMs: 4000 });
  desk.update([state]);
  expect(desk.placeOf("tiny")).toEqual({ diagnostic: false, coldStartMs: 0 });
  expect(desk.placeOf("unknown")).toEqual({ diagnostic: false, coldStartMs: 0 });
});

test("a share of the slots lets less start, and what runs goes on; with the share back the waiting ones start", () => {
  const { work, desk } = setup(runtimeState("ollama", ["tiny"], { slots: 3 }));
  const jobs = ["a", "b", "c", "d"].map((id) => fakeJob(desk, id));
  for (const { job } of jobs.slice(0, 2)) desk.enqueue(job);
  desk.limit(1 / 3);
  expect(desk.load()).toMatchObject({ slots: 1, running: 2 });
  for (const { job } of jobs.slice(2)) desk.enqueue(job);
  desk.release(jobs[0]?.job as Job);
  expect(started(work)).toEqual(["a", "b"]);
  desk.limit(1);
  expect(started(work)).toEqual(["a", "b", "c", "d"]);
  // The record says what the runtime has, the load what may be used.
  desk.limit(2 / 3);
  expect([desk.load().slots, desk.runtimes[0]?.slots]).toEqual([2, 3]);
});

test("slots that were configured count instead of the runtime's own word", () => {
  const work = new FakeWork();
  const desk = new RuntimeDesk(
    () => work,
    ({ kind }) => (kind === "ollama" ? 4 : 1),
  );
  desk.update([runtimeState("ollama", ["tiny"])]);
  expect([desk.load().slots, desk.runtimes[0]?.slots, desk.seats("tiny")?.slots]).toEqual([4, 4, 4]);
});

test("a machine that is taken back ends what waits and what runs, and starts none of it meanwhile", () => {
  const { work, desk } = setup(runtimeState("ollama", ["tiny"]));
  const jobs = ["a", "b", "c"].map((id) => fakeJob(desk, id));
  for (const { job } of jobs) desk.enqueue(job);
  desk.handBack("its user is active");
  expect(jobs.map(({ failures }) => failures)).toEqual([["draining"], ["draining"], ["draining"]]);
  expect(started(work)).toEqual(["a"]);
  expect(desk.load()).toMatchObject({ running: 0, queued: 0 });
});
