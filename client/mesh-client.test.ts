import { errors, type Msg } from "@nats-io/nats-core";
import { expect, test } from "vitest";
import { HEADERS, MeshError, type JobRequestInput, type StreamFrame } from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import { encode } from "../service/codec.ts";
import { headersFor } from "../service/messages.ts";
import { FakeBus } from "../test/kit/router-parts.ts";
import { MeshClient } from "./mesh-client.ts";

const ACCEPTED = {
  type: "accepted",
  job_id: "job-00000001",
  node_id: "n1",
  layer: "L0",
  model: "tiny",
  security_level: "P2",
} as const;
const END = { type: "end", job_id: "job-00000001", status: "finished" } as const;

/** A client on a fake bus; `answer` plays the mesh for each submitted job, `reply` a router for each question. */
function setup({
  answer = [],
  reply,
}: { answer?: readonly object[]; reply?: () => Promise<Uint8Array | string> } = {}) {
  const bus = new FakeBus();
  const asked: unknown[] = [];
  Object.assign(bus.nc, {
    request: async (subject: string, body: Uint8Array) => {
      asked.push(subject, body);
      const data = await reply?.();
      const headers = headersFor("json");
      return { data: typeof data === "string" ? new TextEncoder().encode(data) : data, headers } as Msg;
    },
  });
  const publish = bus.nc.publish;
  bus.nc.publish = (subject, data, options) => {
    publish(subject, data, options);
    if (!subject.includes(".submit.")) return;
    for (const [seq, frame] of answer.entries())
      bus.deliver(options?.reply ?? "", encode(frame, "json"), { headers: { [HEADERS.seq]: String(seq) } });
  };
  const client = new MeshClient(Object.assign(bus, { inbox: "_INBOX.me", connected: () => true }) as unknown as Bus);
  return { bus, client, asked };
}

const all = async (stream: AsyncIterable<StreamFrame>) => {
  const frames: StreamFrame[] = [];
  for await (const frame of stream) frames.push(frame);
  return frames;
};
const JOB: JobRequestInput = { security_level: "P2", prompt: "hello", job_id: "job-00000001" };

test("submit puts the pieces together: text, and tool calls", async () => {
  const text = setup({
    answer: [ACCEPTED, { type: "delta", content: "Hel" }, { type: "delta", content: "lo", reasoning: "no" }, END],
  });
  expect(await text.client.submit(JOB)).toMatchObject({
    status: "finished",
    message: { role: "assistant", content: "Hello" },
  });
  const call = (rest: object) => ({ type: "delta", tool_calls: [{ index: 0, ...rest }] });
  const tools = setup({
    answer: [
      ACCEPTED,
      call({ id: "c1", type: "function", function: { name: "look", arguments: "{" } }),
      call({ function: { arguments: "}" } }),
      END,
    ],
  });
  expect((await tools.client.submit(JOB)).message).toEqual({
    role: "assistant",
    content: null,
    tool_calls: [{ id: "c1", type: "function", function: { name: "look", arguments: "{}" } }],
  });
});

test("a job that did not finish is a value with its error and no half message", async () => {
  const error = new MeshError("runtime_failed", "the runtime failed").toWire();
  const { client } = setup({
    answer: [ACCEPTED, { type: "delta", content: "half" }, { ...END, status: "failed", error }],
  });
  expect(await client.submit(JOB)).toMatchObject({
    status: "failed",
    message: null,
    error: { code: "runtime_failed" },
  });
});

test.each([
  ["a wrong role", { messages: [{ role: "boss", content: "x" }] }, {}, "messages[0].role"],
  ["an unusable job id", { security_level: "P2", prompt: "x", job_id: "a b" }, {}, "job_id"],
  ["a task type with a dot", { security_level: "P2", prompt: "x", task_type: "a.b" }, {}, "task_type"],
  ["a queue with a wildcard", { security_level: "P2", prompt: "x" }, { queue: ">" }, "queue"],
] as [string, never, object, string][])(
  "%s is one refused ending naming the field; nothing is sent",
  async (_, job, options, field) => {
    const { client, bus } = setup();
    expect(await all(client.stream(job, options))).toMatchObject([
      { type: "end", status: "refused", error: { code: "bad_request", field } },
    ]);
    expect(bus.on("mesh.main.job")).toEqual([]);
  },
);

test("the queue is the caller's, else the task type, else chat", async () => {
  for (const [job, options, queue] of [
    [{ ...JOB, task_type: "rag" }, { queue: "batch" }, "batch"],
    [{ ...JOB, task_type: "rag" }, {}, "rag"],
    [JOB, {}, "chat"],
  ] as const) {
    const { client, bus } = setup({ answer: [END] });
    await client.submit(job, options);
    expect(bus.on("mesh.main.job.submit").map(({ subject }) => subject)).toEqual([`mesh.main.job.submit.${queue}`]);
  }
});

test("two jobs at once do not hear each other", async () => {
  const { client, bus } = setup();
  const [one, two] = [
    client.submit({ security_level: "P2", prompt: "one" }),
    client.submit({ security_level: "P2", prompt: "two" }),
  ];
  await bus.next("mesh.main.job.submit", 1);
  const inboxes = bus.on("mesh.main.job.submit").map(({ reply }) => reply ?? "");
  // Who knows one, because it answers there, cannot guess the other.
  for (const inbox of inboxes) expect(inbox).toMatch(/\.[0-9A-Z]{26}$/);
  for (const [i, inbox] of inboxes.toReversed().entries())
    bus.deliver(inbox, { ...END, job_id: `answer-to-${i === 0 ? "two" : "one"}` });
  expect([(await one).job_id, (await two).job_id]).toEqual(["answer-to-one", "answer-to-two"]);
});

test("a job larger than the bus takes, and a closed connection, are refusals with their own codes", async () => {
  const large = setup();
  large.bus.maxBytes = 10;
  expect(await large.client.submit({ security_level: "P2", prompt: "x".repeat(100) })).toMatchObject({
    status: "refused",
    error: { code: "payload_too_large" },
  });
  const closed = setup();
  closed.bus.nc.isClosed = () => true;
  closed.bus.maxBytes = -1;
  expect(await closed.client.submit(JOB)).toMatchObject({ status: "refused", error: { code: "bus_unavailable" } });
  expect(() => closed.client.cancel("job-00000001")).toThrow(expect.objectContaining({ code: "bus_unavailable" }));
});

test("cancel names the job on its own subject, and refuses what is no job id", () => {
  const { client, bus } = setup();
  client.cancel("job-00000001");
  expect(bus.on("mesh.main.job.cancel").map(({ subject }) => subject)).toEqual(["mesh.main.job.cancel.job-00000001"]);
  expect(() => client.cancel("*")).toThrow(expect.objectContaining({ code: "bad_request" }));
});

test.each([
  ["nobody listens", () => Promise.reject(new errors.NoRespondersError("x")), "no_router"],
  ["nobody answers in time", () => Promise.reject(new errors.TimeoutError()), "no_router"],
  ["the connection is closed", () => Promise.reject(new errors.ClosedConnectionError()), "bus_unavailable"],
  ["the request is too large", () => Promise.reject(new errors.InvalidArgumentError("payload")), "payload_too_large"],
  ["the router refuses", () => Promise.resolve(errorBody("unknown_queue")), "unknown_queue"],
  ["the router answers null", () => Promise.resolve("null"), "internal"],
  ["the router answers another shape", () => Promise.resolve('{"outcome":"maybe"}'), "internal"],
  ["the router answers garbage", () => Promise.resolve(new Uint8Array([0xff])), "bad_request"],
])("decide when %s throws %s", async (_, reply, code) => {
  const { client, bus } = setup({ reply: reply as () => Promise<Uint8Array> });
  bus.nc.isClosed = () => code === "bus_unavailable";
  await expect(client.decide({ task_type: "chat" })).rejects.toMatchObject({ code });
});

function errorBody(code: "unknown_queue"): string {
  return JSON.stringify({ error: new MeshError(code, "there is no such queue").toWire() });
}
