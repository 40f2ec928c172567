import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { HEADERS, JobResult, MeshError, type JobRequestInput, type Ticket } from "../../bus-schemas/index.ts";
import {
  ACCEPTED,
  TICKET_REPLY,
  END,
  JOB,
  SECRET,
  accepted,
  endOf,
  opened,
  say,
  sealedRun,
} from "../../test/kit/sealed-stream.ts";
import type { StreamOptions } from "../attempt.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] }));
afterEach(() => vi.useRealTimers());

test("the router is asked without the content, the node gets the whole job sealed, and its frames are opened", async () => {
  const request = { prompt: SECRET, security_level: "P0", max_tokens: 5, tools: [{ type: "function", name: SECRET }] };
  const { port, frames, published, give } = sealedRun(request, { dataClass: "P1", traceparent: "00-1" });
  const asked = await published(1);
  expect(asked).toMatchObject({ subject: "route", body: { ticket: true, job_id: JOB, task_type: "chat", attempt: 1 } });
  expect(asked.body).toMatchObject({ security_level: "P0", max_tokens: 5, exclude_nodes: [] });
  expect(asked.body["prompt_tokens"]).toBeGreaterThan(10);
  expect(JSON.stringify(asked.body)).not.toContain(SECRET);
  expect([HEADERS.dataClass, HEADERS.traceparent].map((name) => asked.headers.get(name))).toEqual(["P1", "00-1"]);
  give();
  const sent = await published(2);
  expect(sent).toMatchObject({ subject: "sealed.P0.n1", reply: asked.reply });
  expect(Buffer.from(sent.data).toString("latin1")).not.toContain(SECRET);
  const { job, key } = await opened(sent);
  expect(job).toEqual({ ...request, job_id: JOB, stream: true });
  say(port, key, [ACCEPTED, { type: "delta", content: "a" }, END]);
  expect((await frames).map(({ type }) => type)).toEqual(["accepted", "delta", "end"]);
  expect(port.log).toEqual(["route 1", "sealed 2"]);
});

test.each<[string, JobRequestInput, Partial<StreamOptions>, string]>([
  ["P2 in the body", { prompt: "x", security_level: "P2" }, {}, "submit.chat"],
  ["P2 as an option", { prompt: "x" }, { dataClass: "P2" }, "submit.chat"],
  ["none", { prompt: "x" }, {}, "route"],
  ["P1", { prompt: "x", security_level: "P1" }, {}, "route"],
  ["a misspelt one", { prompt: "x", security_level: "p2" }, {}, "route"],
  ["the stricter of two", { prompt: "x", security_level: "P2" }, { dataClass: "P0" }, "route"],
])("class %s: only a declared P2 goes in clear unasked", async (_, request, options, subject) => {
  const abort = new AbortController();
  const { frames, published } = sealedRun(request, { ...options, signal: abort.signal });
  expect((await published(1)).subject).toBe(subject);
  abort.abort();
  await frames;
});

test("a class that needs no sealing is submitted as it is", async () => {
  const { port, frames, published, reply } = sealedRun({ prompt: "x", security_level: "P1" });
  await published(1);
  reply({ ...TICKET_REPLY, security_level: "P1", sealed: false, ticket: null });
  expect((await published(2)).subject).toBe("submit.chat");
  port.say([ACCEPTED, END]);
  expect(endOf(await frames)).toMatchObject({ status: "finished" });
});

test("a P2 job whose policy wants it sealed is sealed; routers that go on disagreeing get no more tries", async () => {
  const { port, frames, published, reply, refuse } = sealedRun({ prompt: "x", security_level: "P2" });
  const no = new MeshError("encryption_required", "seal it");
  for (let turn = 1; turn <= 5; turn += 2) {
    expect((await published(turn)).subject).toBe("submit.chat");
    refuse(no);
    if (turn === 5) break;
    expect((await published(turn + 1)).subject).toBe("route");
    reply({ ...TICKET_REPLY, sealed: false, ticket: null });
  }
  expect(endOf(await frames)).toMatchObject({ status: "refused", error: { code: "encryption_required" } });
  expect(port.submits).toHaveLength(5);
});

test("a node that is full is left out of the next ticket, and the last refusal is the job's end", async () => {
  const { frames, published, give, refuse } = sealedRun();
  for (const [i, node] of ["n1", "n2"].entries()) {
    const asked = await published(2 * i + 1);
    expect(asked.body).toMatchObject({ attempt: i + 1, exclude_nodes: i === 0 ? [] : ["n1"] });
    give(node, { attemptsLeft: 1 - i });
    await published(2 * i + 2);
    refuse(new MeshError("all_busy", "full"));
  }
  expect(endOf(await frames)).toMatchObject({ status: "refused", error: { code: "all_busy" } });
});

test("a node that is gone is left out; one whose ticket came too late is asked again, once", async () => {
  const { port, frames, published, give, refuse } = sealedRun();
  await published(1);
  give();
  await published(2);
  refuse(new MeshError("ticket_rejected", "restarted meanwhile"));
  expect((await published(3)).body).toMatchObject({ attempt: 2, exclude_nodes: [] });
  give("n1", { attemptsLeft: 1 });
  await published(4);
  port.noResponders();
  expect((await published(5)).body).toMatchObject({ attempt: 3, exclude_nodes: ["n1"] });
  give("n2", { attemptsLeft: 0 });
  await published(6);
  port.noResponders();
  expect(endOf(await frames)).toMatchObject({ status: "refused", error: { code: "node_lost" } });
});

test("a refusal that another node would say too is the end", async () => {
  const { frames, published, give, refuse } = sealedRun();
  await published(1);
  give();
  await published(2);
  refuse(new MeshError("forbidden", "the job is P0 but came as P2"));
  expect(endOf(await frames)).toMatchObject({ status: "refused", error: { code: "forbidden" } });
});

test.each(["A".repeat(43), `AQ${"A".repeat(41)}`])(
  "nothing is sealed to the weak key %s: the next node is asked",
  async (publicKey) => {
    const { port, frames, published, give } = sealedRun();
    await published(1);
    give("n1", { publicKey });
    expect(await published(2)).toMatchObject({ subject: "route", body: { exclude_nodes: ["n1"], attempt: 2 } });
    give("n1", { publicKey, attemptsLeft: 0 });
    expect(endOf(await frames)).toMatchObject({ status: "refused", error: { code: "ticket_rejected" } });
    expect(port.log.filter((line) => line.startsWith("sealed"))).toEqual([]);
  },
);

test.each<[string, Partial<Ticket>]>([
  ["for another job", { job: "job-00000002" }],
  ["of another class", { class: "P2" }],
])("a ticket %s is not used", async (_, wrong) => {
  const { port, frames, published, give } = sealedRun();
  await published(1);
  give("n1", { ...wrong, attemptsLeft: 0 });
  expect(endOf(await frames)).toMatchObject({ error: { code: "ticket_rejected" } });
  expect(port.submits).toHaveLength(1);
});

test.each<[string, (job: Awaited<ReturnType<typeof accepted>>) => void]>([
  [
    "a flipped bit",
    ({ port, key }) => say(port, key, [END], 1, (data) => data.map((byte, i) => (i === 9 ? byte ^ 4 : byte))),
  ],
  ["a frame cut short", ({ port, key }) => say(port, key, [END], 1, (data) => data.subarray(1))],
  ["an answer in clear", ({ port }) => port.say([{ type: "delta", content: "forged" }], 1)],
  ["an ending in clear with a number", ({ port }) => port.say([END], 1)],
  [
    "a finished ending in clear",
    ({ port }) => port.say([{ ...END, message: { role: "assistant", content: "forged" } }], null),
  ],
  ["sealed garbage", ({ port, key }) => say(port, key, [{ type: "surprise" }], 1)],
])("%s ends the stream once with stream_interrupted, and the job is stopped", async (_, spoil) => {
  const job = await accepted();
  spoil(job);
  const frames = await job.frames;
  expect(endOf(frames)).toMatchObject({ status: "failed", error: { code: "stream_interrupted" } });
  expect(JSON.stringify(frames)).not.toContain("forged");
  expect(job.port.log.at(-1)).toBe("cancel");
});

test("a router that knows its node to be lost ends the job", async () => {
  const { port, frames } = await accepted();
  port.noResponders();
  port.say([{ ...END, status: "failed", error: new MeshError("node_lost", "gone").toWire() }], null);
  expect(endOf(await frames)).toMatchObject({ status: "failed", error: { code: "node_lost" } });
});

test("what the router says instead of a ticket is the job's end", async () => {
  const noNode = new MeshError("no_node", "none").toWire();
  for (const [body, end] of [
    [
      JobResult.parse({ job_id: JOB, status: "refused", error: noNode }),
      { status: "refused", error: { code: "no_node" } },
    ],
    [{ error: new MeshError("deadline_exceeded", "late").toWire() }, { status: "expired" }],
    [{ error: new MeshError("bad_request", "bad").toWire() }, { status: "refused", error: { code: "bad_request" } }],
    [
      { ...TICKET_REPLY, ticket: null, attempts_left: 0 },
      { status: "failed", error: { code: "stream_interrupted" } },
    ],
    [
      { ...TICKET_REPLY, ticket: "x", attempts_left: 0 },
      { status: "refused", error: { code: "ticket_rejected" } },
    ],
    [[], { status: "failed", error: { code: "stream_interrupted" } }],
  ] as const) {
    const { frames, published, reply } = sealedRun();
    await published(1);
    reply(body);
    expect(endOf(await frames)).toMatchObject(end);
  }
});

test("a node that says nothing to a sealed job is left out of the next ticket, the old try superseded", async () => {
  const { port, frames, published, give } = sealedRun();
  await published(1);
  give();
  await published(2);
  await vi.advanceTimersByTimeAsync(2000);
  expect((await published(3)).body).toMatchObject({ attempt: 2, exclude_nodes: ["n1"] });
  expect(port.log).toEqual(["route 1", "sealed 2", "supersede", "route 3"]);
  give("n2", { node: "n2" });
  const { key } = await opened(await published(4), "n2");
  say(port, key, [ACCEPTED, END]);
  expect(endOf(await frames)).toMatchObject({ status: "finished" });
});

test("without a router it tries again shortly; a job larger than the bus takes is refused; no error quotes the prompt", async () => {
  const { port, frames, published, give } = sealedRun();
  await published(1);
  port.noResponders();
  for (let i = 0; i < 10; i++) await new Promise(setImmediate);
  await vi.advanceTimersByTimeAsync(400);
  await published(2);
  port.refuse = new MeshError("payload_too_large", "too large");
  give();
  const all = await frames;
  expect(endOf(all)).toMatchObject({ status: "refused", error: { code: "payload_too_large" } });
  expect(JSON.stringify(all)).not.toContain(SECRET);
});
