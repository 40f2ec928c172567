import OpenAI, { type APIError, InternalServerError, BadRequestError, NotFoundError } from "openai";
import { expect, test } from "vitest";
import { MeshError } from "../bus-schemas/index.ts";
import { ACCEPTED, FAKE_JOB, FakeMesh, ending, refusal, saying } from "../test/kit/fake-mesh.ts";
import { startGateway } from "../test/kit/gateway.ts";

/** Contract: the official SDK, unchanged, against the gateway's real HTTP server. */

const MESSAGES = [{ role: "user" as const, content: "hello" }];
const ask = { model: "auto", messages: MESSAGES };

async function sdkOver(mesh: FakeMesh, options: { maxRetries?: number; limits?: object } = {}) {
  const gateway = await startGateway(mesh, { limits: options.limits ?? {} });
  const openai = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: "none", maxRetries: options.maxRetries ?? 0 });
  return { gateway, openai, [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose]() };
}

const HELLO = saying(
  ACCEPTED,
  { type: "delta", content: "Hel" },
  { type: "working", queued: false },
  { type: "delta", content: "lo" },
  ending(),
);

test("a completion comes back whole, with usage and the mesh's headers", async () => {
  const mesh = new FakeMesh(HELLO);
  await using sdk = await sdkOver(mesh);
  const { data, response } = await sdk.openai.chat.completions
    .create({ ...ask, max_completion_tokens: 9, temperature: null })
    .withResponse();
  expect(data).toMatchObject({
    id: `chatcmpl-${FAKE_JOB}`,
    object: "chat.completion",
    model: "tiny:1b",
    choices: [{ index: 0, message: { role: "assistant", content: "Hello" }, finish_reason: "stop" }],
    usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
  });
  expect(Math.abs(data.created - Date.now() / 1000)).toBeLessThan(60);
  const headers = Object.fromEntries(response.headers);
  expect(headers).toMatchObject({
    server: "tiermesh",
    "x-tiermesh-job": FAKE_JOB,
    "x-tiermesh-receipt": `/v1/receipts/${FAKE_JOB}`,
    "x-tiermesh-node": "n1",
    "x-tiermesh-layer": "L0",
    "x-tiermesh-class": "P2",
    "x-tiermesh-model": "tiny:1b",
    "x-tiermesh-decision": "01DECISION",
  });
  // Nobody's: the salt by which it is committed to is told to whoever asked.
  const salt = headers["x-tiermesh-commitment-salt"];
  expect(salt).toMatch(/^[A-Za-z0-9_-]{43}$/);
  expect(mesh.seen[0]?.job).toEqual({ messages: MESSAGES, max_tokens: 9, commitment_salt: salt });
});

test("the SDK's own user is the caller, whose salt the gateway keeps; the headers of the mesh stand above it", async () => {
  const mesh = new FakeMesh(HELLO);
  await using sdk = await sdkOver(mesh);
  const { response } = await sdk.openai.chat.completions.create({ ...ask, user: "alice" }).withResponse();
  expect(response.headers.get("x-tiermesh-commitment-salt")).toBeNull();
  const headers = { "X-Tiermesh-Caller": "service:crm", "X-Tiermesh-On-Behalf-Of": "bob" };
  await sdk.openai.chat.completions.create({ ...ask, safety_identifier: "x" }, { headers });
  expect(mesh.seen.map(({ job }) => job.caller)).toMatchObject([
    { id: "alice", kind: "user", on_behalf_of: [], declared_by: "gateway" },
    { id: "crm", kind: "service", on_behalf_of: [{ id: "bob" }], declared_by: "gateway" },
  ]);
  for (const { job } of mesh.seen) expect(job).not.toHaveProperty("commitment_salt");
});

test("a streamed completion arrives piece by piece, with the counts last when asked for", async () => {
  await using sdk = await sdkOver(new FakeMesh(HELLO));
  const { data: stream, response } = await sdk.openai.chat.completions
    .create({ ...ask, stream: true, stream_options: { include_usage: true } })
    .withResponse();
  const chunks = await Array.fromAsync(stream);
  expect(response.headers.get("x-tiermesh-node")).toBe("n1");
  expect(response.headers.get("content-type")).toContain("text/event-stream");
  expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? null)).toEqual(["", "Hel", "lo", null, null]);
  expect(chunks[0]?.choices[0]?.delta.role).toBe("assistant");
  expect(chunks.map((chunk) => chunk.choices[0]?.finish_reason)).toEqual([null, null, null, "stop", undefined]);
  expect(chunks.map((chunk) => chunk.usage)).toEqual([
    null,
    null,
    null,
    null,
    { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
  ]);
  expect(new Set(chunks.map((chunk) => `${chunk.id} ${chunk.object} ${chunk.model}`))).toEqual(
    new Set([`chatcmpl-${FAKE_JOB} chat.completion.chunk tiny:1b`]),
  );
});

test("no chunk has a usage when it was not asked for", async () => {
  await using sdk = await sdkOver(new FakeMesh(HELLO));
  const chunks = await Array.fromAsync(await sdk.openai.chat.completions.create({ ...ask, stream: true }));
  expect(chunks.filter((chunk) => "usage" in chunk)).toEqual([]);
});

test("an answer without a single piece still has a role and a finish", async () => {
  await using sdk = await sdkOver(new FakeMesh(saying(ACCEPTED, ending({ finish_reason: "length" }))));
  const chunks = await Array.fromAsync(await sdk.openai.chat.completions.create({ ...ask, stream: true }));
  expect(chunks.map((chunk) => [chunk.choices[0]?.delta.role, chunk.choices[0]?.finish_reason])).toEqual([
    ["assistant", null],
    [undefined, "length"],
  ]);
});

const TOOL_CALLS = saying(
  ACCEPTED,
  { type: "delta", tool_calls: [{ index: 0, id: "call_1", function: { name: "weather", arguments: "" } }] },
  { type: "delta", tool_calls: [{ index: 0, function: { arguments: '{"city":' } }] },
  {
    type: "delta",
    tool_calls: [
      { index: 0, function: { arguments: '"Bern"}' } },
      { index: 1, function: { name: "time", arguments: "{}" } },
    ],
  },
  ending({ finish_reason: "stop" }),
);
const TOOLS = [
  { type: "function" as const, function: { name: "weather", parameters: { type: "object", properties: {} } } },
];

test("tool calls are joined in a whole completion, each with an id", async () => {
  const mesh = new FakeMesh(TOOL_CALLS);
  await using sdk = await sdkOver(mesh);
  const { choices } = await sdk.openai.chat.completions.create({ ...ask, tools: TOOLS });
  expect(choices[0]).toMatchObject({
    finish_reason: "tool_calls",
    message: {
      content: null,
      tool_calls: [
        { id: "call_1", type: "function", function: { name: "weather", arguments: '{"city":"Bern"}' } },
        { id: `call_${FAKE_JOB}_1`, type: "function", function: { name: "time", arguments: "{}" } },
      ],
    },
  });
  expect(mesh.seen[0]?.job.tools).toEqual(TOOLS);
});

test("streamed tool calls are understood by the SDK's own accumulator", async () => {
  await using sdk = await sdkOver(new FakeMesh(TOOL_CALLS));
  const completion = await sdk.openai.chat.completions.stream({ ...ask, tools: TOOLS }).finalChatCompletion();
  expect(completion.choices[0]?.finish_reason).toBe("tool_calls");
  expect(completion.choices[0]?.message.tool_calls).toMatchObject([
    { id: "call_1", type: "function", function: { name: "weather", arguments: '{"city":"Bern"}' } },
    { id: `call_${FAKE_JOB}_1`, type: "function", function: { name: "time", arguments: "{}" } },
  ]);
});

test("aborting a stream in the SDK cancels the job", async () => {
  const mesh = new FakeMesh(async function* () {
    yield ACCEPTED;
    yield { type: "delta", content: "first" };
    await new Promise<never>(() => {});
  });
  await using sdk = await sdkOver(mesh);
  const stream = await sdk.openai.chat.completions.create({ ...ask, stream: true });
  for await (const chunk of stream) if (chunk.choices[0]?.delta.content === "first") break;
  await mesh.left;
  expect(mesh.seen[0]?.options.signal?.aborted).toBe(true);
});

test("aborting a whole completion in the SDK cancels the job", async () => {
  const started = Promise.withResolvers<void>();
  const mesh = new FakeMesh(async function* () {
    yield ACCEPTED;
    started.resolve();
    await new Promise<never>(() => {});
  });
  await using sdk = await sdkOver(mesh);
  const abort = new AbortController();
  const answer = sdk.openai.chat.completions.create(ask, { signal: abort.signal });
  const failure = answer.catch((error: unknown) => error);
  await started.promise;
  abort.abort();
  expect(await failure).toBeInstanceOf(OpenAI.APIUserAbortError);
  await mesh.left;
});

test.each([
  ["all_busy", 529, "overloaded_error"],
  ["no_node", 503, "server_error"],
  ["no_router", 503, "server_error"],
] as const)("%s is an error %i with a Retry-After", async (code, status, type) => {
  await using sdk = await sdkOver(
    new FakeMesh(saying(refusal(new MeshError(code, "try later", { retryAfterMs: 1500 })))),
  );
  for (const stream of [false, true]) {
    const error = await sdk.openai.chat.completions.create({ ...ask, stream }).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(InternalServerError);
    expect(error).toMatchObject({ status, code, type, param: null });
    expect((error as APIError).headers?.get("retry-after")).toBe("2");
  }
});

test("a caller whom the queue sent away gets 429 and when to come back", async () => {
  await using sdk = await sdkOver(
    new FakeMesh(saying(refusal(new MeshError("rate_limited", "the queue is overloaded", { retryAfterMs: 2300 })))),
  );
  const error = await sdk.openai.chat.completions.create(ask).catch((cause: unknown) => cause);
  expect(error).toMatchObject({ status: 429, code: "rate_limited", type: "rate_limit_error" });
  expect((error as APIError).headers?.get("retry-after")).toBe("3");
  expect((error as APIError).headers?.get("retry-after-ms")).toBe("2300");
});

test("the SDK's own retry gets through once a slot is free", async () => {
  const mesh = new FakeMesh(HELLO);
  mesh.script = async function* (job, signal) {
    if (mesh.seen.length === 1) yield refusal(new MeshError("all_busy", "everybody is busy", { retryAfterMs: 5 }));
    else yield* HELLO(job, signal);
  };
  await using sdk = await sdkOver(mesh, { maxRetries: 2 });
  const { choices } = await sdk.openai.chat.completions.create(ask);
  expect(choices[0]?.message.content).toBe("Hello");
  expect(mesh.seen.length).toBe(2);
});

test("the SDK does not retry what cannot succeed", async () => {
  const mesh = new FakeMesh(saying(refusal(new MeshError("deadline_exceeded", "the deadline has passed"))));
  await using sdk = await sdkOver(mesh, { maxRetries: 3 });
  await expect(sdk.openai.chat.completions.create(ask)).rejects.toMatchObject({
    status: 504,
    code: "deadline_exceeded",
  });
  expect(mesh.seen.length).toBe(1);
});

test("a node lost before the first piece is an HTTP error, which the SDK retries", async () => {
  const mesh = new FakeMesh(HELLO);
  mesh.script = async function* (job, signal) {
    if (mesh.seen.length > 1) return yield* HELLO(job, signal);
    yield ACCEPTED;
    yield ending({ status: "failed", error: new MeshError("node_lost", "the node is gone").toWire() });
  };
  await using sdk = await sdkOver(mesh, { maxRetries: 1 });
  const chunks = await Array.fromAsync(await sdk.openai.chat.completions.create({ ...ask, stream: true }));
  expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("")).toBe("Hello");
});

test("a failure in the middle of a stream is one error, after the pieces that came", async () => {
  const lost = ending({ status: "failed", error: new MeshError("node_lost", "the node is gone").toWire() });
  await using sdk = await sdkOver(new FakeMesh(saying(ACCEPTED, { type: "delta", content: "Hel" }, lost)));
  const stream = await sdk.openai.chat.completions.create({ ...ask, stream: true });
  let text = "";
  const read = async () => {
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
  };
  await expect(read()).rejects.toMatchObject({ code: "node_lost", message: "the node is gone" });
  expect(text).toBe("Hel");
});

test("a wrong parameter is a BadRequestError that names it", async () => {
  await using sdk = await sdkOver(new FakeMesh(HELLO));
  const bad = sdk.openai.chat.completions.create({ ...ask, temperature: 3 });
  await expect(bad).rejects.toBeInstanceOf(BadRequestError);
  await expect(bad).rejects.toMatchObject({
    status: 400,
    param: "temperature",
    type: "invalid_request_error",
    code: "bad_request",
  });
});

test("an unknown model is a NotFoundError", async () => {
  await using sdk = await sdkOver(
    new FakeMesh(saying(refusal(new MeshError("model_not_found", "no node has it", { field: "model" })))),
  );
  const bad = sdk.openai.chat.completions.create({ ...ask, model: "gone" });
  await expect(bad).rejects.toBeInstanceOf(NotFoundError);
  await expect(bad).rejects.toMatchObject({ param: "model", code: "model_not_found" });
});
