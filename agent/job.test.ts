import { afterEach, expect, test, vi } from "vitest";
import { MeshError, type StreamFrame } from "../bus-schemas/index.ts";
import { EnergyMeter } from "./model/energy.ts";
import { agentParts } from "../test/kit/agent-parts.ts";

afterEach(() => vi.useRealTimers());

/** An agent with one job on its runtime. */
function running(body: object = { prompt: "hello", stream: true }) {
  const parts = agentParts();
  parts.submit(body);
  const [run] = parts.work.runs;
  if (run === undefined) throw new Error("the job did not start");
  return { ...parts, run };
}

const ends = (frames: StreamFrame[]) => frames.filter(({ type }) => type === "end");

test("whatever happens after the end, there is one end, one ended verdict and one event", () => {
  const accidents: ((parts: ReturnType<typeof running>) => void)[] = [
    ({ run }) => run.done(),
    ({ run }) => run.fail(new MeshError("runtime_failed", "the runtime failed")),
    ({ bus }) => bus.deliver(bus.subjects.cancel("job-00000001"), undefined),
    ({ intake }) => intake.jobs.get("job-00000001")?.fail(new MeshError("draining", "stopped")),
  ];
  const outcomes = accidents.map((first) => {
    const parts = running();
    first(parts);
    for (const again of accidents) again(parts);
    parts.run.say("late");
    expect(ends(parts.frames())).toHaveLength(1);
    expect(parts.frames().at(-1)?.type).toBe("end");
    expect(parts.verdicts().filter(({ type }) => type === "ended")).toHaveLength(1);
    expect(parts.events.of("job_ended")).toHaveLength(1);
    expect(parts.ended).toHaveLength(1);
    return parts.ended[0]?.status;
  });
  expect(outcomes).toEqual(["finished", "failed", "cancelled", "failed"]);
});

test("a job that ends without finishing lets go of its runtime; a finished one has nothing to stop", () => {
  const cancelled = running();
  cancelled.bus.deliver(cancelled.bus.subjects.cancel("job-00000001"), undefined);
  expect(cancelled.run.cancelled).toBe(true);
  const finished = running();
  finished.run.done();
  expect(finished.run.cancelled).toBe(false);
});

test("at its deadline a job expires, running or waiting, and its runtime is stopped", () => {
  vi.useFakeTimers();
  const parts = agentParts();
  const deadline = { "Mesh-Deadline": String(Date.now() + 500) };
  parts.submit({ prompt: "a", stream: true }, { ...deadline, "Mesh-Job": "job-running" });
  parts.submit({ prompt: "b", stream: true }, { ...deadline, "Mesh-Job": "job-waiting" });
  expect(parts.work.runs).toHaveLength(1);
  vi.advanceTimersByTime(499);
  expect(parts.ended).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(parts.ended.map(({ status, event }) => [event.job_id, status])).toEqual([
    ["job-running", "expired"],
    ["job-waiting", "expired"],
  ]);
  expect(parts.work.runs.map(({ cancelled }) => cancelled)).toEqual([true, expect.anything()]);
  expect(ends(parts.frames())).toMatchObject([
    { error: { code: "deadline_exceeded" } },
    { error: { code: "deadline_exceeded" } },
  ]);
});

test("a deadline of centuries is no deadline of now", () => {
  vi.useFakeTimers();
  const parts = agentParts();
  parts.submit(undefined, { "Mesh-Deadline": String(Date.now() + 1e13) });
  vi.advanceTimersByTime(1000);
  expect(parts.ended).toEqual([]);
});

test("a superseded job ends silently: no end for the caller, no event, but a verdict for the router's counts", () => {
  const parts = running();
  parts.bus.deliver(parts.bus.subjects.cancel("job-00000001"), { superseded: true });
  expect(ends(parts.frames())).toEqual([]);
  expect(parts.events.of("job_ended")).toEqual([]);
  expect(parts.verdicts().at(-1)).toMatchObject({ type: "ended", status: "cancelled" });
  expect(parts.run.cancelled).toBe(true);
  expect(parts.intake.jobs.size).toBe(0);
});

test("the timing tells waiting, first piece and all apart", () => {
  vi.useFakeTimers({ toFake: ["performance", "setTimeout", "clearTimeout", "setInterval", "clearInterval"] });
  const parts = agentParts();
  parts.submit({ prompt: "a" }, { "Mesh-Job": "job-before-it" });
  parts.submit({ prompt: "b", stream: true });
  vi.advanceTimersByTime(300);
  parts.work.runs[0]?.done();
  vi.advanceTimersByTime(50);
  parts.work.runs[1]?.say("x");
  vi.advanceTimersByTime(200);
  parts.work.runs[1]?.done();
  expect(parts.ended[1]?.timing).toEqual({ queued_ms: 300, ttft_ms: 50, total_ms: 550 });
  expect(parts.ended[0]?.timing).toEqual({ queued_ms: 0, ttft_ms: null, total_ms: 300 });
});

test("an answer too large for one reply fails with a hint, and the runtime stops writing it", () => {
  const parts = running({ prompt: "hello" });
  parts.run.say("x".repeat(5_000_000));
  expect(parts.run.cancelled).toBe(true);
  expect(parts.frames()).toMatchObject([{ status: "failed", error: { code: "payload_too_large" } }]);
  expect(parts.frames()[0]).toMatchObject({ error: { message: expect.stringContaining("stream: true") as string } });
});

test("what is recorded is what the caller was told, also when the bus refuses the answer", () => {
  const parts = running({ prompt: "hello" });
  parts.bus.maxBytes = 1500;
  parts.run.say("x".repeat(2000));
  parts.run.done();
  expect(parts.frames()).toMatchObject([{ status: "failed", error: { code: "payload_too_large" } }]);
  expect(parts.events.of("job_ended")).toMatchObject([{ status: "failed", error: { code: "payload_too_large" } }]);
  expect(parts.verdicts().at(-1)).toMatchObject({ type: "ended", status: "failed" });
});

test("the event of an ending holds nothing of the question or the answer", () => {
  const parts = running({ prompt: "the-secret-question", stream: true });
  parts.run.say("the-secret-answer");
  parts.run.done();
  expect(JSON.stringify([parts.events.seen, parts.verdicts()])).not.toMatch(/the-secret/);
});

test("what comes of a task without text goes to its caller and into no record", () => {
  const { run, frames, events } = running({ task: "embedding", input: ["hello"], stream: true });
  expect(run.job).toMatchObject({ messages: [], parameters: {}, input: { task: "embedding", input: ["hello"] } });
  const output = { task: "embedding" as const, embeddings: ["AACAPw=="] };
  const usage = { prompt_tokens: 2, completion_tokens: 0, estimated: true };
  run.chunk({ type: "done", finishReason: "stop", usage, output });
  expect(ends(frames())).toMatchObject([{ status: "finished", output, usage }]);
  expect(events.of("job_ended")).toMatchObject([{ status: "finished", usage }]);
  expect(JSON.stringify(events.seen)).not.toMatch(/AACAPw|hello|output/);
});

test("what a run took of electricity is told to its caller and recorded; where that is unknown the caller is told null", () => {
  const clock = { nowMs: 0 };
  const energy = new EnergyMeter(() => clock.nowMs);
  const parts = agentParts({ energy });
  const run = (jobId: string) => {
    parts.submit({ prompt: "hello", stream: true }, { "Mesh-Job": jobId });
    clock.nowMs += 3_600_000;
    parts.work.runs.at(-1)?.done();
  };
  run("job-unknown");
  energy.sample({ gpus: [], power_watts: 80 });
  run("job-known");
  expect(ends(parts.frames())).toMatchObject([{ energy_wh: null }, { energy_wh: 80 }]);
  const [unknown, known] = parts.events.of("job_ended");
  expect(unknown).not.toHaveProperty("energy_wh");
  expect(known).toMatchObject({ energy_wh: 80 });
});

test("a job that waits takes none of the electricity", () => {
  const clock = { nowMs: 0 };
  const energy = new EnergyMeter(() => clock.nowMs);
  energy.sample({ gpus: [], power_watts: 80 });
  const parts = agentParts({ energy });
  for (const jobId of ["job-first", "job-second"]) parts.submit({ prompt: "a" }, { "Mesh-Job": jobId });
  for (const index of [0, 1]) {
    clock.nowMs += 3_600_000;
    parts.work.runs[index]?.done();
  }
  expect(parts.ended.map(({ event }) => event.energy_wh)).toEqual([80, 80]);
});
