import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { JobResult } from "../../bus-schemas/index.ts";
import { UNSEALED, nodeRecord, routerParts } from "../../test/kit/router-parts.ts";
import { Dispatcher } from "../dispatcher.ts";
import { Router } from "../router.ts";
import { Tickets } from "../tickets.ts";

const RUN = "mesh.main.job.run";
const INBOX = "_INBOX.caller.";
/** A node with one slot and no queue. */
const ONE = { slots: 1, running: 0, queued: 0, queue_limit: 0, pending_prefill_tokens: 0 };
const BUSY = { ...ONE, running: 1 };

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A router with one node that takes one job at a time. */
function oneSlot(policy: Record<string, unknown> = {}) {
  const kit = routerParts(policy);
  const dispatcher = new Dispatcher(kit.parts);
  const router = new Router(kit.parts, dispatcher, new Tickets(kit.parts, dispatcher));
  dispatcher.start();
  router.start();
  kit.join(nodeRecord("n1", { load: ONE }));
  const submit = (id: string, queue = "chat", rest: Record<string, unknown> = {}) =>
    kit.bus.deliver(
      `mesh.main.job.submit.${queue}`,
      { job_id: `the-job-${id}`, security_level: "P2", prompt: "hello", ...rest },
      { reply: INBOX + id },
    );
  const sentJobs = () => kit.bus.on(RUN).map(({ headers }) => headers?.get("Mesh-Job"));
  const answersTo = (id: string) => kit.bus.on(INBOX + id).map((answer) => answer.json());
  const endingOf = (id: string) => JobResult.parse(answersTo(id).at(-1));
  const verdict = (id: string, type: string, rest: Record<string, unknown> = {}) => {
    const run = kit.bus.on(RUN).findLast(({ headers }) => headers?.get("Mesh-Job") === `the-job-${id}`);
    kit.bus.deliver(run?.reply ?? "", { type, job_id: `the-job-${id}`, node_id: "n1", load: BUSY, ...rest });
  };
  const accept = (id: string) => verdict(id, "accepted");
  const end = async (id: string) => {
    verdict(id, "ended", { load: ONE, status: "finished", timing: null });
    await vi.advanceTimersByTimeAsync(0);
  };
  /** The node works on `id`, which fills it. */
  const fill = (id: string) => {
    submit(id);
    accept(id);
  };
  return { ...kit, dispatcher, submit, sentJobs, answersTo, endingOf, verdict, accept, end, fill };
}

test("a job that finds every node full waits, and goes on as soon as a node says that a place is free", async () => {
  const { submit, sentJobs, answersTo, end, fill, events, dispatcher } = oneSlot();
  fill("a");
  submit("b");
  expect([sentJobs(), dispatcher.line.size]).toEqual([["the-job-a"], 1]);
  await vi.advanceTimersByTimeAsync(700);
  await end("a");
  expect([sentJobs(), dispatcher.line.size]).toEqual([["the-job-a", "the-job-b"], 0]);
  expect(answersTo("b")).toEqual([]);
  expect(events.of("job_decided").map(({ job_id, waited_ms }) => [job_id, waited_ms])).toEqual([
    ["the-job-a", undefined],
    ["the-job-b", 700],
  ]);
});

test("one free place is sent one job, however many wait for it", async () => {
  const { submit, sentJobs, end, accept, fill } = oneSlot();
  fill("a");
  for (const id of ["b", "c", "d"]) submit(id);
  await end("a");
  expect(sentJobs()).toEqual(["the-job-a", "the-job-b"]);
  accept("b");
  await vi.advanceTimersByTimeAsync(100);
  expect(sentJobs()).toEqual(["the-job-a", "the-job-b"]);
});

test("chat goes before rag and media, whoever came first", async () => {
  const { submit, sentJobs, accept, end, fill } = oneSlot();
  fill("a");
  submit("m", "media");
  submit("r", "rag");
  submit("c", "chat");
  for (const id of ["a", "c", "r"]) {
    await end(id);
    accept(["c", "r", "m"][["a", "c", "r"].indexOf(id)] ?? "");
  }
  expect(sentJobs()).toEqual(["the-job-a", "the-job-c", "the-job-r", "the-job-m"]);
});

test("what waits longer than two seconds is sent away with rate_limited and the time after which to come back", async () => {
  const { submit, endingOf, fill, events, sentJobs } = oneSlot();
  fill("a");
  submit("b");
  await vi.advanceTimersByTimeAsync(1990);
  expect(sentJobs()).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(20);
  expect(endingOf("b")).toMatchObject({ status: "refused", error: { code: "rate_limited", retryable: true } });
  expect(endingOf("b").error?.retry_after_ms).toBeGreaterThanOrEqual(250);
  expect(events.of("job_ended")).toMatchObject([{ job_id: "the-job-b", status: "refused" }]);
  expect(events.of("job_ended")[0]?.waited_ms).toBeGreaterThanOrEqual(2000);
});

test("in a backlog of more than two seconds jobs wait 100 ms, and the newest goes first", async () => {
  const { submit, endingOf, answersTo, end, fill, sentJobs } = oneSlot();
  fill("a");
  submit("b");
  for (let i = 0; i < 25; i++) {
    await vi.advanceTimersByTimeAsync(100);
    submit(`f${i}`);
  }
  expect(endingOf("f21").error?.code).toBe("rate_limited");
  await vi.advanceTimersByTimeAsync(50);
  submit("new");
  expect(answersTo("f24")).toEqual([]);
  await end("a");
  expect(sentJobs()).toEqual(["the-job-a", "the-job-new"]);
});

test("a deadline that passes while the job waits is its one ending: expired", async () => {
  const { submit, endingOf, answersTo, end, fill, sentJobs } = oneSlot();
  fill("a");
  submit("b", "chat", { timeout_ms: 300 });
  await vi.advanceTimersByTimeAsync(310);
  expect(endingOf("b")).toMatchObject({ status: "expired", error: { code: "deadline_exceeded" } });
  await end("a");
  await vi.advanceTimersByTimeAsync(3000);
  expect([answersTo("b").length, sentJobs()]).toEqual([1, ["the-job-a"]]);
});

test("a waiting job can be cancelled; one that its client submits again leaves without a word", async () => {
  const { bus, submit, endingOf, answersTo, end, fill, sentJobs } = oneSlot();
  fill("a");
  submit("b");
  submit("c");
  bus.deliver("mesh.main.job.cancel.the-job-b", undefined);
  bus.deliver("mesh.main.job.cancel.the-job-c", { superseded: true });
  expect(endingOf("b")).toMatchObject({ status: "cancelled", error: { code: "cancelled" } });
  await end("a");
  await vi.advanceTimersByTimeAsync(3000);
  expect([answersTo("b").length, answersTo("c").length, sentJobs()]).toEqual([1, 0, ["the-job-a"]]);
});

test("a caller of a stream hears once a second that its job waits, a caller of one answer does not", async () => {
  const { submit, answersTo, fill } = oneSlot();
  fill("a");
  submit("s", "chat", { stream: true });
  submit("o");
  await vi.advanceTimersByTimeAsync(1100);
  expect(answersTo("s")).toEqual([{ type: "working", queued: true }]);
  expect(answersTo("o")).toEqual([]);
});

test("a queue at its max_concurrency waits though nodes are free, and another queue goes on", async () => {
  const queues = { chat: { priority: 100, max_concurrency: 2 }, rag: { priority: 80 } };
  const { join, submit, sentJobs, verdict, dispatcher } = oneSlot({ task_queues: queues });
  join(nodeRecord("n1", { seq: 1, load: { slots: 50 } }));
  for (const id of ["a", "b", "c"]) submit(id);
  submit("r", "rag");
  expect(sentJobs()).toEqual(["the-job-a", "the-job-b", "the-job-r"]);
  const free = { ...ONE, slots: 50 };
  for (const id of ["a", "b"]) verdict(id, "accepted", { load: free });
  await vi.advanceTimersByTimeAsync(1000);
  expect([sentJobs().length, dispatcher.caps.used("chat")]).toEqual([3, 2]);
  verdict("a", "ended", { load: free, status: "failed", timing: null });
  await vi.advanceTimersByTimeAsync(0);
  expect(sentJobs()).toEqual(["the-job-a", "the-job-b", "the-job-r", "the-job-c"]);
});

test("P0 and P1 count against the cap from their decision on, while their record is on its way", async () => {
  const queues = { chat: { max_concurrency: 1 } };
  const { events, submit, sentJobs, dispatcher } = oneSlot({ ...UNSEALED, task_queues: queues });
  const durable = Promise.withResolvers<void>();
  events.stall = durable.promise;
  submit("a", "chat", { security_level: "P1" });
  submit("b", "chat", { security_level: "P1" });
  expect([dispatcher.caps.used("chat"), dispatcher.line.size]).toEqual([1, 1]);
  durable.resolve();
  await vi.advanceTimersByTimeAsync(0);
  expect([sentJobs(), dispatcher.caps.used("chat")]).toEqual([["the-job-a"], 1]);
});

test("a job that a node refused because it is full, with all others full, waits; its tries are counted", async () => {
  const { submit, sentJobs, verdict, endingOf, join } = oneSlot();
  const full = (seq: number) => join(nodeRecord("n1", { seq, load: BUSY }));
  const free = async (seq: number) => {
    join(nodeRecord("n1", { seq, load: ONE }));
    await vi.advanceTimersByTimeAsync(0);
  };
  submit("a");
  const error = { code: "all_busy", message: "full", retryable: true };
  for (const seq of [1, 3]) {
    verdict("a", "refused", { error });
    full(seq);
    expect(sentJobs()).toHaveLength((seq + 1) / 2);
    await free(seq + 1);
  }
  expect(sentJobs()).toHaveLength(3);
  verdict("a", "refused", { error });
  expect(endingOf("a")).toMatchObject({ status: "refused", attempts: 3, error: { code: "all_busy" } });
});

test("what is more urgent at another router looks first: this one's less urgent jobs wait a moment, and go then", async () => {
  const { dispatcher, fleet, submit, sentJobs, fill, end } = oneSlot();
  fleet.fleet.liveRouters = 2;
  let elsewhere: number | null = 100;
  vi.spyOn(dispatcher.caps, "waitingElsewhere", "get").mockImplementation(() => elsewhere);
  submit("m", "media");
  expect([sentJobs(), dispatcher.line.size]).toEqual([[], 1]);
  await vi.advanceTimersByTimeAsync(15);
  expect(sentJobs()).toEqual([]);
  await vi.advanceTimersByTimeAsync(30);
  expect(sentJobs()).toEqual(["the-job-m"]);
  await end("m");
  // Nothing waits there that is more urgent than chat.
  fill("c");
  expect(sentJobs()).toEqual(["the-job-m", "the-job-c"]);
  submit("m2", "media");
  elsewhere = null;
  await end("c");
  expect(sentJobs()).toEqual(["the-job-m", "the-job-c", "the-job-m2"]);
});

test("a client that submits very many jobs and never reads: what waits is bounded, each has one ending", async () => {
  const { submit, fill, bus, dispatcher } = oneSlot();
  fill("a");
  for (let i = 0; i < 12_000; i++) submit(`flood${i}`, "media", { prompt: "x".repeat(100) });
  expect(dispatcher.line.size).toBe(10_000);
  submit("chat");
  expect(dispatcher.line.size).toBe(10_000);
  await vi.advanceTimersByTimeAsync(4000);
  expect(dispatcher.line.size).toBe(0);
  const endings = bus.on(INBOX).map(({ subject }) => subject);
  expect([endings.length, new Set(endings).size]).toEqual([12_001, 12_001]);
});

test("a stopping router waits until the line is empty", async () => {
  const { submit, fill, dispatcher, end, accept } = oneSlot();
  fill("a");
  submit("b");
  let drained = false;
  const draining = dispatcher.drain().then(() => (drained = true));
  await vi.advanceTimersByTimeAsync(500);
  expect(drained).toBe(false);
  await end("a");
  accept("b");
  await vi.advanceTimersByTimeAsync(100);
  await draining;
  expect(dispatcher.line.size).toBe(0);
});
