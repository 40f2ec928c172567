import { afterEach, expect, test, vi } from "vitest";
import { JobResult, MeshError } from "../bus-schemas/index.ts";
import { UNSEALED, nodeRecord, routerParts } from "../test/kit/router-parts.ts";
import { Dispatcher } from "./dispatcher.ts";
import { Router } from "./router.ts";
import { Tickets } from "./tickets.ts";

const INBOX = "_INBOX.caller.1";
const SUBMIT = "mesh.main.job.submit.chat";
const ROUTE = "mesh.main.job.route";
const RUN = "mesh.main.job.run";
const job = { job_id: "job-00001", security_level: "P2", prompt: "hello" };

afterEach(() => void vi.useRealTimers());

function startRouter(policy: Record<string, unknown> = {}) {
  const kit = routerParts(policy);
  const dispatcher = new Dispatcher(kit.parts);
  const router = new Router(kit.parts, dispatcher, new Tickets(kit.parts, dispatcher));
  dispatcher.start();
  router.start();
  const submit = (body: unknown, headers: Record<string, string> = {}, subject = SUBMIT) =>
    kit.bus.deliver(subject, body, { reply: INBOX, headers });
  return { ...kit, dispatcher, router, submit };
}

test("a job that says its class twice is refused, not taken by the last", async () => {
  const { bus, join, submit } = startRouter();
  join(nodeRecord("n1"));
  submit(new TextEncoder().encode('{"security_level":"P0","prompt":"x","security_level":"P2"}'));
  expect((await bus.next(INBOX)).json()).toMatchObject({ status: "refused", error: { code: "bad_request" } });
  expect(bus.on(RUN)).toEqual([]);
});

test("a job is decided, recorded and sent with the caller's own bytes and inbox", async () => {
  const { bus, events, join, submit } = startRouter();
  join(nodeRecord("n1"));
  const deadline = Date.now() + 5000;
  const body = new TextEncoder().encode(JSON.stringify({ ...job, unknown_key: "kept" }));
  const headers = { "Mesh-Deadline": String(deadline), traceparent: "00-1-1-01", "Content-Type": "application/json" };
  submit(body, headers);
  const sent = await bus.next(RUN);
  expect(sent.subject).toBe("mesh.main.job.run.P2.n1");
  expect(sent.data).toEqual(body);
  expect(sent.reply).toMatch(/^mesh\.main\.job\.verdict\.router-1\.n1\.\w+$/);
  const named = ["Mesh-Job", "Mesh-Class", "Mesh-Deadline", "Mesh-Reply", "Mesh-Model", "Mesh-Attempt"];
  expect(named.map((name) => sent.headers?.get(name))).toEqual([
    "job-00001",
    "P2",
    String(deadline),
    INBOX,
    "llama3.1-8b",
    "1",
  ]);
  expect(sent.headers?.get("Mesh-Decision")).toBe("event-2");
  expect(sent.headers?.get("traceparent")).toBe("00-1-1-01");
  expect(events.of("job_decided")[0]).toMatchObject({
    job_id: "job-00001",
    attempt: 1,
    decision: { outcome: "routed", node_id: "n1" },
    sizes: { request_bytes: body.length },
  });
  expect(JSON.stringify(events.seen)).not.toContain("hello");
});

const MALFORMED: [string, unknown, string | undefined][] = [
  ["bytes that are no JSON", new Uint8Array([0xff, 0xfe, 0x00]), undefined],
  ["a number", 7, undefined],
  ["null", null, undefined],
  ["no messages", { task_type: "chat" }, "messages"],
  ["empty messages", { messages: [] }, "messages"],
  ["a role that is none", { messages: [{ role: "root", content: "x" }] }, "messages[0].role"],
  ["a wrong type", { prompt: 7 }, "prompt"],
  ["a job id with dots", { ...job, job_id: "a.b.c.d.e.f" }, "job_id"],
  ["a deadline that is no time", { ...job, deadline_unix_ms: -1 }, "deadline_unix_ms"],
];

test.each(MALFORMED)("%s is answered with an error that names the field", async (_what, body, field) => {
  const { bus, rejected, submit } = startRouter();
  submit(body);
  const result = JobResult.parse((await bus.next(INBOX)).json());
  expect(result).toMatchObject({ status: "refused", error: { code: "bad_request" } });
  expect(result.error?.field).toBe(field);
  expect(rejected).toHaveLength(1);
  expect(bus.sent).toHaveLength(1);
});

test("a bad header is answered too: a job id that is no token, a deadline that has passed", async () => {
  const { bus, submit } = startRouter();
  submit({ prompt: "x" }, { "Mesh-Job": "a.b" });
  expect((await bus.next(INBOX)).json()).toMatchObject({ error: { code: "bad_request" } });
  submit({ prompt: "x" }, { "Mesh-Deadline": "1000000000000" });
  expect((await bus.next(INBOX, 1)).json()).toMatchObject({ status: "expired", error: { code: "deadline_exceeded" } });
});

test("a queue that is not in the policy is refused by name, also one that every object has", async () => {
  const { bus, join, submit } = startRouter();
  join(nodeRecord("n1"));
  for (const [i, queue] of ["chatt", "constructor", "__proto__", "toString"].entries()) {
    submit(job, {}, `mesh.main.job.submit.${queue}`);
    expect((await bus.next(INBOX, i)).json()).toMatchObject({ error: { code: "unknown_queue", field: "task_type" } });
  }
});

test("nothing is said on a subject that is no inbox", async () => {
  const { bus, events, rejected, join } = startRouter();
  join(nodeRecord("n1"));
  const before = events.seen.length;
  for (const reply of ["", "mesh.main.node.control.n1", "_INBOX", "_INBOX.>", "_INBOX.a b", "$SYS.REQ.x"]) {
    bus.deliver(SUBMIT, job, { reply });
    bus.deliver(ROUTE, job, { reply });
    bus.deliver(ROUTE, 7, { reply });
  }
  bus.deliver(SUBMIT, job, { reply: INBOX });
  await bus.next(RUN);
  expect(bus.sent.map(({ subject }) => subject)).toEqual(["mesh.main.job.run.P2.n1"]);
  expect(rejected).toHaveLength(18);
  expect(events.seen).toHaveLength(before + 1);
});

test("a P2 job does not wait for its record; P0 and P1 do", async () => {
  const { bus, events, join, submit } = startRouter(UNSEALED);
  join(nodeRecord("n1"));
  const durable = Promise.withResolvers<void>();
  events.stall = durable.promise;
  submit({ ...job, job_id: "job-p0-00", security_level: "P0" });
  submit({ ...job, job_id: "job-p1-00", security_level: "P1" });
  submit({ ...job, job_id: "job-p2-00" });
  expect((await bus.next(RUN)).headers?.get("Mesh-Job")).toBe("job-p2-00");
  expect(events.of("job_decided")).toHaveLength(3);
  expect(bus.on(RUN)).toHaveLength(1);
  durable.resolve();
  await bus.next(RUN, 2);
  expect(bus.on(RUN).map(({ subject }) => subject)).toEqual([
    "mesh.main.job.run.P2.n1",
    "mesh.main.job.run.P0.n1",
    "mesh.main.job.run.P1.n1",
  ]);
});

test("P0 and P1 are refused with audit_unavailable when their decision does not become durable", async () => {
  vi.useFakeTimers();
  const { bus, events, join, submit } = startRouter();
  join(nodeRecord("n1"));
  events.stall = new Promise(() => {});
  for (const level of ["P0", "P1"]) submit({ ...job, job_id: `job-of-${level}`, security_level: level });
  await vi.advanceTimersByTimeAsync(1500);
  expect(bus.on(INBOX).map((answer) => answer.json())).toMatchObject([
    { status: "refused", security_level: "P0", decision_id: "event-2", error: { code: "audit_unavailable" } },
    { status: "refused", security_level: "P1", decision_id: "event-3", error: { code: "audit_unavailable" } },
  ]);
  expect(bus.on(RUN)).toEqual([]);
});

test("when no event can be recorded at all, every job is refused and none is sent", async () => {
  const { bus, events, join, submit } = startRouter();
  join(nodeRecord("n1"));
  events.failure = new MeshError("audit_unavailable", "the audit stream does not take events");
  submit(job);
  expect((await bus.next(INBOX)).json()).toMatchObject({ status: "refused", error: { code: "audit_unavailable" } });
  expect(bus.on(RUN)).toEqual([]);
});

test("a job cancelled while its decision is recorded ends as cancelled and is never sent", async () => {
  const { bus, events, join, submit } = startRouter();
  join(nodeRecord("n1"));
  const durable = Promise.withResolvers<void>();
  events.stall = durable.promise;
  submit({ ...job, security_level: "P0" });
  bus.deliver("mesh.main.job.cancel.job-00001", undefined);
  durable.resolve();
  expect((await bus.next(INBOX)).json()).toMatchObject({ status: "cancelled", error: { code: "cancelled" } });
  expect(bus.on(RUN)).toEqual([]);
  expect(events.of("job_ended")).toMatchObject([{ job_id: "job-00001", status: "cancelled" }]);
});

test("a refused decision is the job's one ending, told and recorded", async () => {
  const { bus, events, submit } = startRouter();
  submit(job);
  const result = JobResult.parse((await bus.next(INBOX)).json());
  expect(result).toMatchObject({ status: "refused", node_id: null, error: { code: "no_node", retryable: true } });
  expect(events.of("job_ended")).toMatchObject([{ job_id: "job-00001", status: "refused" }]);
  expect(bus.on(INBOX)).toHaveLength(1);
});

test("header and body together never widen the class: the stricter is on the subject", async () => {
  const { bus, join, submit } = startRouter(UNSEALED);
  join(nodeRecord("n1", { load: { slots: 9 } }));
  const declared: [string | undefined, string | undefined, string][] = [
    ["P0", "P2", "P0"],
    ["P2", "P1", "P1"],
    ["P2", undefined, "P2"],
    ["p2", "P2", "P0"],
    [undefined, undefined, "P0"],
  ];
  for (const [i, [inHeader, inBody, effective]] of declared.entries()) {
    const body = { prompt: "x", job_id: `job-0000${i}`, security_level: inBody };
    submit(body, inHeader === undefined ? {} : { "Mesh-Class": inHeader });
    const sent = await bus.next(RUN, i);
    expect(sent.subject).toBe(`mesh.main.job.run.${effective}.n1`);
    expect(sent.headers?.get("Mesh-Class")).toBe(effective);
  }
});

test("decide-only answers where a job would go and sends nothing", () => {
  const { bus, events, join } = startRouter();
  join(nodeRecord("n1"));
  const before = events.seen.length;
  bus.deliver(ROUTE, { task_type: "chat", security_level: "P2" }, { reply: INBOX });
  expect(bus.sent.map(({ subject }) => subject)).toEqual([INBOX]);
  expect(bus.sent[0]?.json()).toMatchObject({ outcome: "routed", node_id: "n1", security_level: "P2" });
  expect(events.seen).toHaveLength(before);
});

test("a malformed decide-only request is answered with an error", () => {
  const { bus, rejected } = startRouter();
  bus.deliver(ROUTE, { security_level: 2 }, { reply: INBOX });
  expect(bus.sent[0]?.json()).toMatchObject({ error: { code: "bad_request", field: "security_level" } });
  expect(rejected.map(({ kind }) => kind)).toEqual(["route"]);
});

test("a job that the bus would not take with our headers is refused once, not tried again", async () => {
  const { bus, dispatcher, join, submit } = startRouter();
  join(nodeRecord("n1"), nodeRecord("n2"));
  bus.maxBytes = 1000;
  submit({ ...job, prompt: "x".repeat(2000) });
  expect((await bus.next(INBOX)).json()).toMatchObject({ status: "refused", error: { code: "payload_too_large" } });
  expect(dispatcher.inFlight).toEqual({ waiting: 0, running: 0 });
});

test("an orderly stop waits for jobs whose record is not durable yet", async () => {
  const { bus, dispatcher, events, join, router, submit } = startRouter();
  join(nodeRecord("n1"));
  const durable = Promise.withResolvers<void>();
  events.stall = durable.promise;
  submit({ ...job, security_level: "P1" });
  await router.stop();
  let drained = false;
  const drain = dispatcher.drain().then(() => (drained = true));
  durable.resolve();
  const sent = await bus.next(RUN);
  expect(drained).toBe(false);
  const load = { slots: 2, running: 1, queued: 0, queue_limit: 2, pending_prefill_tokens: 0 };
  bus.deliver(sent.reply ?? "", { type: "accepted", job_id: "job-00001", node_id: "n1", load });
  await drain;
  submit({ ...job, job_id: "job-00002" });
  expect(bus.on(RUN)).toHaveLength(1);
});
