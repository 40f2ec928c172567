import { afterEach, expect, test, vi } from "vitest";
import { HEADERS, MeshError } from "../bus-schemas/index.ts";
import { agentParts, runtimeState } from "../test/kit/agent-parts.ts";

const BROKEN = new MeshError("runtime_failed", "the runtime does not answer");
const CANCEL = "mesh.main.job.cancel.job-00000001";
const whole = { prompt: "hello" };
const stream = { prompt: "hello", stream: true };
const to = (who: string) => ({ [HEADERS.handBack]: who });

afterEach(() => void vi.useRealTimers());

test("a router that is gone takes nothing back: two seconds later the caller is told here, and the ending recorded", () => {
  vi.useFakeTimers();
  for (const taken of [true, false]) {
    const { bus, submit, work, frames, events } = agentParts();
    submit(whole, to("router"));
    work.runs[0]?.fail(BROKEN);
    if (taken) bus.deliver(CANCEL, { superseded: true, node_id: "n1", by_router: true });
    vi.advanceTimersByTime(10_000);
    const told = taken ? [] : [{ status: "failed", error: { code: "runtime_failed" } }];
    expect([frames(), events.of("job_ended")]).toMatchObject([told, told]);
  }
});

test("a whole answer that fails goes back to its router: its caller hears nothing, and no ending is recorded", () => {
  const { submit, work, verdicts, frames, events, intake } = agentParts();
  submit(whole, to("router"));
  work.runs[0]?.fail(BROKEN);
  expect(verdicts().at(-1)).toMatchObject({
    type: "ended",
    status: "failed",
    handed_back: true,
    error: { code: "runtime_failed" },
  });
  expect([frames(), events.of("job_ended"), intake.jobs.size]).toEqual([[], [], 0]);
});

test("a stream that fails goes back to its caller: it hears that, and no ending is recorded", () => {
  const { submit, work, verdicts, frames, events } = agentParts();
  submit(stream, to("caller"));
  work.runs[0]?.say("one");
  work.runs[0]?.fail(BROKEN);
  expect(frames().at(-1)).toMatchObject({ type: "end", status: "failed", handed_back: true });
  expect(verdicts().at(-1)).toMatchObject({ type: "ended", handed_back: true });
  expect(events.of("job_ended")).toEqual([]);
});

test.each([
  ["nobody goes on", stream, {}, BROKEN],
  ["a stream is not its router's to go on with", stream, to("router"), BROKEN],
  ["a whole answer is not its caller's", whole, to("caller"), BROKEN],
  ["another node would fail too", stream, to("caller"), new MeshError("bad_request", "no such parameter")],
  ["its time is over", whole, to("router"), new MeshError("deadline_exceeded", "too late")],
])("a failure ends the job, told and recorded, where %s", (_, body, headers, error) => {
  const { submit, work, verdicts, frames, events } = agentParts();
  submit(body, headers);
  work.runs[0]?.fail(error);
  expect(verdicts().at(-1)).toMatchObject({ type: "ended", handed_back: false, error: { code: error.code } });
  expect(frames().at(-1)).toMatchObject({ type: "end", handed_back: false, error: { code: error.code } });
  expect(events.of("job_ended")).toHaveLength(1);
});

test("a cancel that means another node's try leaves this one's alone; one that means ours ends it without a word", () => {
  const { bus, submit, frames, events, intake } = agentParts();
  submit(stream);
  bus.deliver(CANCEL, { superseded: true, node_id: "n2" });
  expect(intake.jobs.size).toBe(1);
  const said = frames().length;
  bus.deliver(CANCEL, { superseded: true, node_id: "n1" });
  expect([intake.jobs.size, frames().length, events.of("job_ended")]).toEqual([0, said, []]);
});

test("an answer that another node began is a last message of the assistant's for the runtime", () => {
  const { submit, work } = agentParts();
  submit({ ...stream, continue_from: "one two " });
  expect(work.runs[0]?.job).toMatchObject({
    continues: true,
    messages: [
      { role: "user", content: "hello" },
      { role: "assistant", content: "one two " },
    ],
  });
});

test("a runtime that does not answer any more fails the jobs that wait for it, and routers are told at once", () => {
  const { desk, submit, verdicts } = agentParts();
  submit(whole, { ...to("router"), [HEADERS.job]: "job-00000001" });
  submit(whole, { ...to("router"), [HEADERS.job]: "job-00000002" });
  const ill = runtimeState("ollama", ["tiny"], { healthy: false });
  ill.record.status_reason = "does not answer";
  expect(desk.update([ill])).toBe(true);
  expect(verdicts().filter(({ type }) => type === "ended")).toMatchObject([
    { job_id: "job-00000002", handed_back: true, error: { code: "runtime_failed" } },
  ]);
  expect(desk.update([ill])).toBe(false);
  expect(desk.update([runtimeState("ollama", ["tiny"])])).toBe(true);
});

test("a machine whose owner takes it back hands its jobs on: to the router, to the caller, and nobody records an ending", () => {
  const { desk, submit, work, verdicts, frames, events, intake } = agentParts({ slots: 2 });
  submit(whole, { ...to("router"), [HEADERS.job]: "job-00000001" });
  submit(stream, { ...to("caller"), [HEADERS.job]: "job-00000002" });
  desk.handBack("its user is active");
  expect(work.runs.map(({ cancelled }) => cancelled)).toEqual([true, true]);
  const error = { code: "draining", message: "its user is active", retryable: true };
  expect(verdicts().filter(({ type }) => type === "ended")).toMatchObject([
    { job_id: "job-00000001", handed_back: true, error },
    { job_id: "job-00000002", handed_back: true, error },
  ]);
  expect(frames().at(-1)).toMatchObject({ type: "end", handed_back: true, error });
  expect([events.of("job_ended"), intake.jobs.size]).toEqual([[], 0]);
});
