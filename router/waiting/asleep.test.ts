import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { JobResult } from "../../bus-schemas/index.ts";
import { wakingRouter } from "../../test/kit/sleep-parts.ts";
import { UNSEALED } from "../../test/kit/router-parts.ts";
import { Dispatcher } from "../dispatcher.ts";
import { Router } from "../router.ts";
import { Tickets } from "../tickets.ts";

const INBOX = "_INBOX.caller.";
const ONE = { slots: 1, running: 0, queued: 0, queue_limit: 0, pending_prefill_tokens: 0 };

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A router whose only machine with the model sleeps; another is its neighbour. */
async function asleep(policy: Record<string, unknown> = { wake_on_lan: { enabled: true } }) {
  const kit = await wakingRouter(undefined, policy);
  const dispatcher = new Dispatcher(kit.parts);
  const router = new Router(kit.parts, dispatcher, new Tickets(kit.parts, dispatcher));
  dispatcher.start();
  router.start();
  kit.neighbour("n2");
  kit.awake("n1", { load: ONE });
  kit.sleeps("n1", 1);
  await vi.advanceTimersByTimeAsync(0);
  let seq = 1;
  /** Heartbeats, without which a node is lost. */
  const pass = async (ms: number) => {
    for (let at = 0; at < ms; at += 1000) {
      kit.neighbour("n2", seq++);
      await vi.advanceTimersByTimeAsync(Math.min(1000, ms - at));
    }
  };
  const submit = (id: string, rest: Record<string, unknown> = {}) =>
    kit.bus.deliver(
      "mesh.main.job.submit.chat",
      { job_id: `the-job-${id}`, security_level: "P2", prompt: "hello", model: "llama3.1-8b", ...rest },
      { reply: INBOX + id },
    );
  const sent = () => kit.bus.on("mesh.main.job.run").map(({ headers }) => headers?.get("Mesh-Job"));
  const answers = (id: string) => kit.bus.on(INBOX + id).map((answer) => answer.json());
  const endingOf = (id: string) => JobResult.parse(answers(id).at(-1));
  const up = async () => {
    kit.awake("n1", { boot_id: "boot-2", load: ONE });
    await vi.advanceTimersByTimeAsync(0);
  };
  return { ...kit, dispatcher, pass, submit, sent, answers, endingOf, up };
}

test("a job waits for the machine that is woken for it, longer than for any other place, and goes when it is there", async () => {
  const { answers, asked, dispatcher, events, pass, sent, submit, up } = await asleep();
  submit("a");
  await pass(15_000);
  expect([asked.length, sent(), answers("a"), dispatcher.line.size]).toEqual([1, [], [], 1]);
  expect(events.of("job_decided")).toEqual([]);
  await up();
  expect(sent()).toEqual(["the-job-a"]);
  expect(events.of("job_decided")).toMatchObject([{ job_id: "the-job-a", waited_ms: 15_000 }]);
  expect(events.of("node_woken")).toMatchObject([{ job_id: "the-job-a", outcome: "ready" }]);
});

test("others that come meanwhile wait with it; what then finds no place in time is refused as ever", async () => {
  const { asked, endingOf, events, pass, sent, submit, up } = await asleep();
  submit("a");
  await pass(5000);
  submit("b");
  await pass(5000);
  await up();
  // It has one slot. The newest goes first: the lane has not been empty for long.
  expect(sent()).toEqual(["the-job-b"]);
  await pass(2000);
  expect(endingOf("a")).toMatchObject({ status: "refused", error: { code: "rate_limited", retryable: true } });
  expect([asked.length, events.of("node_woken").length]).toEqual([1, 1]);
});

test("a machine that does not come up: its jobs are refused then, each once, with a decision in the record", async () => {
  const { answers, endingOf, events, pass, submit, wakes } = await asleep({
    wake_on_lan: { enabled: true, max_wait_s: 25 },
  });
  submit("a");
  submit("b");
  await pass(25_000);
  wakes.sweep();
  await pass(4000);
  for (const id of ["a", "b"]) {
    expect(answers(id)).toHaveLength(1);
    expect(endingOf(id)).toMatchObject({ status: "refused", error: { code: "no_node", retryable: true } });
  }
  expect(events.of("job_decided").map(({ decision }) => decision.outcome)).toEqual(["refused", "refused"]);
  expect(events.of("node_woken")).toMatchObject([{ outcome: "not_up" }]);
});

test("a job with too little time is refused at once, with the time when the machine will be there", async () => {
  const { asked, endingOf, events, submit } = await asleep();
  submit("a", { timeout_ms: 5000 });
  await vi.advanceTimersByTimeAsync(0);
  expect(endingOf("a")).toMatchObject({
    status: "refused",
    error: { code: "no_node", retryable: true, retry_after_ms: 20_000 },
  });
  expect(asked).toHaveLength(1);
  // Why the others cannot take it is in the decision; it is made again from its record.
  expect(events.of("job_decided")[0]?.decision).toMatchObject({ outcome: "refused", error: { code: "no_node" } });
});

test("the deadline that passes while a machine wakes up is the job's one ending", async () => {
  const { answers, endingOf, pass, sent, submit, up } = await asleep();
  submit("a", { timeout_ms: 22_000 });
  await pass(23_000);
  expect(endingOf("a")).toMatchObject({ status: "expired", error: { code: "deadline_exceeded" } });
  await up();
  expect([answers("a").length, sent()]).toEqual([1, []]);
});

test("P0 in clear wakes nobody where it must be sealed, and waits like others where it need not", async () => {
  const sealed = await asleep();
  sealed.submit("a", { security_level: "P0" });
  await vi.advanceTimersByTimeAsync(0);
  expect(sealed.endingOf("a").error?.code).toBe("encryption_required");
  expect(sealed.asked).toEqual([]);
  const clear = await asleep({ ...UNSEALED, wake_on_lan: { enabled: true } });
  clear.submit("a", { security_level: "P0" });
  await clear.pass(3000);
  await clear.up();
  expect(clear.sent()).toEqual(["the-job-a"]);
});

test("full nodes are reason enough only when a job has waited for them as long as it would: no burst wakes a machine", async () => {
  const { asked, awake, pass, sent, submit, up } = await asleep();
  const full = { ...ONE, running: 1 };
  awake("n3", { load: full });
  submit("a");
  await pass(1900);
  awake("n3", { load: full, seq: 1 });
  expect(asked).toEqual([]);
  await pass(200);
  expect(asked).toHaveLength(1);
  awake("n3", { load: full, seq: 2 });
  await up();
  expect(sent()).toEqual(["the-job-a"]);
});
