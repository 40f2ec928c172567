import { headers as newHeaders } from "@nats-io/nats-core";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { HEADERS, MeshError, type JobRequestInput, type StreamFrame } from "../bus-schemas/index.ts";
import { encode } from "../service/codec.ts";
import { FakePort } from "../test/kit/fake-port.ts";
import type { StreamOptions } from "./attempt.ts";
import { streamJob } from "./job-stream.ts";

const JOB = "job-00000001";
const PLAIN = { security_level: "P2", prompt: "x" } as const;
const ACCEPTED = {
  type: "accepted",
  job_id: JOB,
  node_id: "n1",
  layer: "L0",
  model: "tiny",
  security_level: "P2",
} as const;
const delta = (content: string) => ({ type: "delta", content }) as const;
const END = { type: "end", job_id: JOB, status: "finished" } as const;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

/** Runs a job to its end, reading as fast as it can. */
function run(
  port: FakePort,
  request: JobRequestInput = { security_level: "P2", prompt: "hello" },
  options: Partial<StreamOptions> = {},
): Promise<StreamFrame[]> {
  return (async () => {
    const frames: StreamFrame[] = [];
    for await (const frame of streamJob(port, request, JOB, { queue: "chat", ...options })) frames.push(frame);
    return frames;
  })();
}
const tick = () => vi.advanceTimersByTimeAsync(0);
const types = (frames: StreamFrame[]) => frames.map(({ type }) => type);
const endOf = (frames: StreamFrame[]) => {
  expect(types(frames).filter((type) => type === "end")).toHaveLength(1);
  return frames.at(-1);
};

test("a job goes to its queue with an inbox of its own, and its frames come to the end", async () => {
  const port = new FakePort();
  const frames = run(
    port,
    { security_level: "P2", prompt: "hello" },
    { queue: "rag", dataClass: "P2", traceparent: "00-trace" },
  );
  await tick();
  expect(port.submits).toMatchObject([
    { subject: "submit.rag", body: { security_level: "P2", prompt: "hello", job_id: JOB, stream: true } },
  ]);
  const { headers } = port.submits[0] ?? { headers: newHeaders() };
  expect(
    [HEADERS.job, HEADERS.dataClass, HEADERS.attempt, HEADERS.traceparent].map((name) => headers.get(name)),
  ).toEqual([JOB, "P2", "1", "00-trace"]);
  port.say([ACCEPTED, delta("a"), { type: "working" }, delta("b"), END]);
  expect(types(await frames)).toEqual(["accepted", "delta", "working", "delta", "end"]);
  expect(port.log).toEqual(["submit 1"]);
});

test("a router's own ending has no number and is final", async () => {
  const port = new FakePort();
  const frames = run(port);
  await tick();
  port.say([ACCEPTED, delta("a")]);
  port.say([{ ...END, status: "failed", error: new MeshError("node_lost", "gone").toWire() }], null);
  expect(endOf(await frames)).toMatchObject({ status: "failed", error: { code: "node_lost" } });
  expect(port.log).toEqual(["submit 1"]);
});

test.each([
  ["garbage", new Uint8Array([0xff])],
  ["null", encode(null, "json")],
  ["an unknown frame", encode({ type: "surprise" }, "json")],
  ["an end without a job", encode({ type: "end", status: "finished" }, "json")],
])("%s on the inbox ends the stream once, quotes nothing and stops the job", async (_, bytes) => {
  const port = new FakePort();
  const frames = run(port);
  await tick();
  port.say([ACCEPTED]);
  port.raw(bytes);
  port.say([END], 1);
  expect(endOf(await frames)).toMatchObject({ status: "failed", error: { code: "stream_interrupted" } });
  expect(port.log).toEqual(["submit 1", "cancel"]);
});

test("silence before acceptance: submitted again on a new inbox, the old try superseded first and its frames unheard", async () => {
  const port = new FakePort();
  const frames = run(port);
  await tick();
  const old = port.submits[0]?.reply ?? "";
  await vi.advanceTimersByTimeAsync(1999);
  expect(port.log).toEqual(["submit 1"]);
  await vi.advanceTimersByTimeAsync(1);
  expect(port.log).toEqual(["submit 1", "supersede", "submit 2"]);
  expect(port.submits[1]?.reply).not.toBe(old);
  expect(port.submits[1]?.headers.get(HEADERS.attempt)).toBe("2");
  expect(port.submits[1]?.body).toEqual(port.submits[0]?.body);
  port.say([ACCEPTED, delta("from the old try"), END], 0, old);
  port.say([ACCEPTED, delta("new"), END]);
  expect((await frames).filter(({ type }) => type === "delta")).toEqual([delta("new")]);
});

test("nobody ever answers: after four tries one no_router, and what may still run is cancelled", async () => {
  const port = new FakePort();
  const frames = run(port);
  await vi.advanceTimersByTimeAsync(4 * 2000);
  expect(endOf(await frames)).toMatchObject({ status: "failed", error: { code: "no_router", retryable: true } });
  expect(port.log).toEqual([
    "submit 1",
    "supersede",
    "submit 2",
    "supersede",
    "submit 3",
    "supersede",
    "submit 4",
    "cancel",
  ]);
});

test("without a router it tries again shortly, and finds the one that is back", async () => {
  const port = new FakePort();
  const frames = run(port);
  await tick();
  port.noResponders();
  await vi.advanceTimersByTimeAsync(399);
  expect(port.submits).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(port.log).toEqual(["submit 1", "submit 2"]);
  port.say([ACCEPTED, END]);
  expect(endOf(await frames)).toMatchObject({ status: "finished" });
});

test("without a router at all it gives up after five seconds", async () => {
  const port = new FakePort();
  port.onSubmit = () => port.noResponders();
  const frames = run(port);
  await vi.advanceTimersByTimeAsync(5000);
  expect(endOf(await frames)).toMatchObject({ error: { code: "no_router", retry_after_ms: 1000 } });
  expect(port.submits).toHaveLength(13);
});

test("a job's own deadline is shorter than the patience for a router", async () => {
  const port = new FakePort();
  port.onSubmit = () => port.noResponders();
  const frames = run(port, { ...PLAIN, timeout_ms: 300 });
  await vi.advanceTimersByTimeAsync(800);
  expect(endOf(await frames)).toMatchObject({ error: { code: "no_router" } });
  expect(port.submits).toHaveLength(3);
});

test("while the bus is away nothing is sent; the job goes when it is back", async () => {
  const port = new FakePort();
  port.away = true;
  const frames = run(port);
  await vi.advanceTimersByTimeAsync(9000);
  expect(port.submits).toHaveLength(0);
  port.away = false;
  await vi.advanceTimersByTimeAsync(400);
  port.say([ACCEPTED, END]);
  expect(endOf(await frames)).toMatchObject({ status: "finished" });
  expect(port.log).toEqual(["submit 1"]);
});

test("a bus that stays away is said after ten seconds; who leaves meanwhile, or has an earlier deadline, is not kept", async () => {
  const port = new FakePort();
  port.away = true;
  const stop = new AbortController();
  const [patient, leaving] = [run(port), run(port, PLAIN, { signal: stop.signal })];
  const brief = run(port, { ...PLAIN, timeout_ms: 310 });
  // Half a second more is for an answer on its way.
  await vi.advanceTimersByTimeAsync(810);
  expect(endOf(await brief)).toMatchObject({ error: { code: "bus_unavailable" } });
  stop.abort();
  expect(endOf(await leaving)).toMatchObject({ status: "cancelled" });
  await vi.advanceTimersByTimeAsync(10_000);
  expect(endOf(await patient)).toMatchObject({ status: "failed", error: { code: "bus_unavailable", retryable: true } });
  expect(port.submits).toHaveLength(0);
});

test("a node that only says working does not outlive the deadline", async () => {
  const port = new FakePort();
  const frames = run(port, { ...PLAIN, timeout_ms: 5000 });
  await tick();
  port.say([ACCEPTED]);
  for (let second = 1; second <= 5; second++) {
    await vi.advanceTimersByTimeAsync(1000);
    port.say([{ type: "working" }], second);
  }
  await vi.advanceTimersByTimeAsync(500);
  expect(endOf(await frames)).toMatchObject({ status: "expired", error: { code: "deadline_exceeded" } });
  expect(port.log).toEqual(["submit 1", "cancel"]);
});

test("the earlier of timeout and absolute deadline counts, also before acceptance", async () => {
  for (const request of [
    { ...PLAIN, timeout_ms: 800, deadline_unix_ms: Date.now() + 60_000 },
    { ...PLAIN, timeout_ms: 60_000, deadline_unix_ms: Date.now() + 800 + 1300 },
  ]) {
    const port = new FakePort();
    const frames = run(port, request);
    await vi.advanceTimersByTimeAsync(800 + 500);
    expect(endOf(await frames)).toMatchObject({ status: "expired" });
    expect(port.submits).toHaveLength(1);
  }
});

test("an abort cancels the job wherever it stands: before the start, while waiting for a router, mid-answer", async () => {
  const early = new FakePort();
  expect(endOf(await run(early, undefined, { signal: AbortSignal.abort() }))).toMatchObject({ status: "cancelled" });
  expect(early.submits).toEqual([]);

  const pausing = new FakePort();
  const abort = new AbortController();
  const paused = run(pausing, undefined, { signal: abort.signal });
  await tick();
  pausing.noResponders();
  await vi.advanceTimersByTimeAsync(100);
  abort.abort();
  expect(endOf(await paused)).toMatchObject({ status: "cancelled", error: { code: "cancelled" } });
  expect(pausing.submits).toHaveLength(1);

  const answering = new FakePort();
  const stop = new AbortController();
  const frames = run(answering, undefined, { signal: stop.signal });
  await tick();
  answering.say([ACCEPTED, delta("a")]);
  await tick();
  stop.abort();
  expect(types(await frames)).toEqual(["accepted", "delta", "end"]);
  expect(answering.log).toEqual(["submit 1", "cancel"]);
});

test("leaving the loop early cancels the job; leaving it at the end cancels nothing", async () => {
  for (const [leaveAt, log] of [
    ["accepted", ["submit 1", "cancel"]],
    ["end", ["submit 1"]],
  ] as const) {
    const port = new FakePort();
    port.onSubmit = () => port.say([ACCEPTED, delta("a"), END]);
    for await (const frame of streamJob(port, PLAIN, JOB, { queue: "chat" })) {
      if (frame.type === leaveAt) break;
    }
    expect(port.log).toEqual(log);
  }
});

test("a message that the bus does not take is a refusal, not an exception", async () => {
  const port = new FakePort();
  port.refuse = new MeshError("payload_too_large", "too large");
  expect(await run(port)).toMatchObject([{ type: "end", status: "refused", error: { code: "payload_too_large" } }]);
});

test("a reader that does not read loses its stream instead of all memory, and the job is stopped at once", async () => {
  const port = new FakePort();
  const stream = streamJob(port, PLAIN, JOB, { queue: "chat" });
  const first = stream.next();
  await tick();
  port.say([ACCEPTED]);
  await first;
  const mega = "x".repeat(1024 * 1024);
  for (let seq = 1; seq <= 40; seq++) port.say([delta(mega)], seq);
  expect(port.log).toEqual(["submit 1", "cancel"]);
  const rest: StreamFrame[] = [];
  for await (const frame of stream) rest.push(frame);
  expect(rest.length).toBeLessThan(20);
  expect(endOf(rest)).toMatchObject({ status: "failed", error: { code: "stream_interrupted" } });
});
