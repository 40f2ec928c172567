import { expect, test } from "vitest";
import { nodeRecord, routerParts } from "../test/kit/router-parts.ts";
import { Dispatcher } from "./dispatcher.ts";
import { Router } from "./router.ts";
import { Tickets } from "./tickets.ts";

const RUN = "mesh.main.job.run";
const FREE = { slots: 9, running: 0, queued: 0, queue_limit: 9, pending_prefill_tokens: 0 };
const JOB = { job_id: "job-00001", security_level: "P2", prompt: "hello" };

function started() {
  const kit = routerParts();
  const dispatcher = new Dispatcher(kit.parts);
  new Router(kit.parts, dispatcher, new Tickets(kit.parts, dispatcher)).start();
  dispatcher.start();
  kit.join(nodeRecord("n1", { load: FREE }));
  const submit = (body: Record<string, unknown> = JOB, inbox = "_INBOX.a.1", headers: Record<string, string> = {}) =>
    kit.bus.deliver("mesh.main.job.submit.chat", body, { reply: inbox, headers });
  const runs = () => kit.bus.on(RUN);
  const answer = (inbox: string) => kit.bus.on(inbox).map((each) => each.json());
  const verdict = (type: string, rest: Record<string, unknown> = {}) =>
    kit.bus.deliver(runs().at(-1)?.reply ?? "", { type, job_id: JOB.job_id, node_id: "n1", load: FREE, ...rest });
  const cancel = (body?: unknown) => kit.bus.deliver(`mesh.main.job.cancel.${JOB.job_id}`, body);
  return { ...kit, submit, runs, answer, verdict, cancel };
}

const CONFLICT = {
  status: "refused",
  job_id: JOB.job_id,
  error: { code: "conflict", field: "job_id", retryable: false },
};

test("the very same message twice is one job with one answer", () => {
  const { submit, runs, answer, events } = started();
  submit();
  submit();
  expect([runs().length, answer("_INBOX.a.1").length, events.of("job_decided").length]).toEqual([1, 0, 1]);
});

test("the same id with another body, or from another caller, is a conflict, while the first runs", () => {
  const { submit, runs, answer, verdict, events } = started();
  submit();
  submit({ ...JOB, prompt: "other" }, "_INBOX.b.1");
  verdict("accepted");
  submit(JOB, "_INBOX.b.2");
  expect(answer("_INBOX.b.1")).toMatchObject([CONFLICT]);
  expect(answer("_INBOX.b.2")).toMatchObject([CONFLICT]);
  expect(runs()).toHaveLength(1);
  // Nothing is recorded as an ending of the job that runs.
  expect(events.of("job_ended")).toEqual([]);
});

test("for a while after it was finished its id is a conflict; one that failed or was refused may come again", () => {
  const { submit, runs, answer, verdict } = started();
  submit();
  verdict("accepted");
  verdict("ended", { status: "failed", timing: null });
  submit();
  expect(runs()).toHaveLength(2);
  verdict("refused", { error: { code: "draining", message: "stops", retryable: true } });
  submit();
  expect(runs()).toHaveLength(3);
  verdict("accepted");
  verdict("ended", { status: "finished", timing: null });
  submit(JOB, "_INBOX.b.1");
  expect([runs().length, answer("_INBOX.b.1")]).toMatchObject([3, [CONFLICT]]);
});

test("a client that gave a try up and submits it again is no duplicate, whatever became of the first", () => {
  const { submit, runs, verdict, cancel } = started();
  submit();
  verdict("accepted");
  cancel({ superseded: true });
  submit(JOB, "_INBOX.a.2", { "Mesh-Attempt": "2" });
  expect(runs()).toHaveLength(2);
  verdict("accepted");
  verdict("ended", { status: "finished", timing: null });
  cancel({ superseded: true });
  submit(JOB, "_INBOX.a.3", { "Mesh-Attempt": "3" });
  expect(runs()).toHaveLength(3);
});

test("an idempotency key is one job, at whichever router it comes in", () => {
  const [one, other] = [started(), started()];
  const body = { security_level: "P2", prompt: "hello", idempotency_key: "order 7" };
  one.submit(body);
  other.submit(body);
  const ids = [one, other].map(({ runs }) => runs()[0]?.headers?.get("Mesh-Job"));
  expect(ids[0]).toMatch(/^key-[A-Za-z0-9_-]{40}$/);
  expect(ids[1]).toBe(ids[0]);
  one.submit({ ...body, prompt: "other" }, "_INBOX.b.1");
  expect(one.answer("_INBOX.b.1")).toMatchObject([{ error: { code: "conflict" }, job_id: ids[0] }]);
});
