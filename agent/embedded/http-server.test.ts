import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { connect } from "node:net";
import { afterEach, expect, test } from "vitest";
import { createLog } from "../../service/log.ts";
import { ContextOverflowError, type GeneratedPiece, type GenerateRequest, type Generator } from "./generator.ts";
import { createEmbeddedServer, type EmbeddedServerOptions } from "./http-server.ts";

type Write = (request: GenerateRequest, signal: AbortSignal) => AsyncIterable<GeneratedPiece>;

const done: GeneratedPiece = {
  type: "done",
  finishReason: "stop",
  promptTokens: 7,
  cachedTokens: 3,
  completionTokens: 2,
};

async function* hello(): AsyncGenerator<GeneratedPiece> {
  yield { type: "text", text: "Hel" };
  yield { type: "text", text: "lo" };
  yield done;
}

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

async function serve(write: Write = hello, options: Partial<EmbeddedServerOptions> = {}) {
  const generator: Generator = {
    model: "tiny",
    contextTokens: 64,
    parallelSlots: 1,
    generate: write,
    close: () => Promise.resolve(),
  };
  const server = createEmbeddedServer({ generator, log: createLog("test", "silent"), ...options });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${String(port)}`;
  const chat = (body: unknown, init: RequestInit = {}) =>
    fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      body: typeof body === "string" ? body : JSON.stringify(body),
      ...init,
    });
  return { url, port, chat };
}

const question = { messages: [{ role: "user", content: "hi" }] };

async function errorOf(response: Response) {
  return ((await response.json()) as { error: { message: string; type: string; param: string | null; code: string } })
    .error;
}

/** A generator whose every step the test decides. */
function held() {
  const started: AbortSignal[] = [];
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let onStart: () => void = () => undefined;
  const write: Write = async function* (_, signal) {
    started.push(signal);
    onStart();
    const aborted = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    await Promise.race([released, aborted]);
    signal.throwIfAborted();
    yield* hello();
  };
  const nextStart = () =>
    new Promise<void>((resolve) => {
      onStart = resolve;
    });
  return { write, started, release: () => release(), nextStart };
}

test("a whole answer has OpenAI's shape and real token counts", async () => {
  const { chat } = await serve();
  const body = (await (await chat(question)).json()) as Record<string, unknown>;
  expect(body).toMatchObject({
    object: "chat.completion",
    model: "tiny",
    choices: [{ index: 0, message: { role: "assistant", content: "Hello" }, finish_reason: "stop" }],
    usage: { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9, prompt_tokens_details: { cached_tokens: 3 } },
  });
});

test("a stream is server-sent chunks, the usage only when asked for, and [DONE] last", async () => {
  const { chat } = await serve();
  const events = async (body: object) => (await (await chat(body)).text()).trim().split("\n\n");
  const plain = await events({ ...question, stream: true });
  expect(plain.at(-1)).toBe("data: [DONE]");
  const chunks = plain
    .slice(0, -1)
    .map((event) => JSON.parse(event.slice("data: ".length)) as { choices: { delta: { content?: string } }[] });
  expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("")).toBe("Hello");
  expect(chunks.at(-1)).toMatchObject({ choices: [{ finish_reason: "stop" }] });
  expect(plain.join("")).not.toContain("usage");

  const counted = await events({ ...question, stream: true, stream_options: { include_usage: true } });
  expect(JSON.parse((counted.at(-2) ?? "").slice("data: ".length))).toMatchObject({
    choices: [],
    usage: { total_tokens: 9 },
  });
});

test("parameters reach the generator as the caller gave them", async () => {
  let seen: GenerateRequest | undefined;
  const { chat } = await serve((request) => {
    seen = request;
    return hello();
  });
  const messages = [
    { role: "developer", content: "be brief" },
    {
      role: "user",
      content: [
        { type: "text", text: "a" },
        { type: "text", text: "b" },
      ],
    },
    { role: "assistant", content: "c" },
    { role: "user", content: "d" },
  ];
  await chat({
    messages,
    max_tokens: 5,
    temperature: 0,
    top_p: 0.5,
    seed: 9,
    stop: "x",
    presence_penalty: 1,
    unknown_thing: 1,
  });
  expect(seen).toEqual({
    turns: [
      { role: "system", text: "be brief" },
      { role: "user", text: "ab" },
      { role: "assistant", text: "c" },
      { role: "user", text: "d" },
    ],
    maxTokens: 5,
    temperature: 0,
    topP: 0.5,
    seed: 9,
    stop: ["x"],
    frequencyPenalty: 0,
    presencePenalty: 1,
  });
});

test.each([
  [{}, "messages"],
  [{ messages: [] }, "messages"],
  [{ messages: [{ role: "tool", content: "x" }] }, "messages[0].role"],
  [{ messages: [{ role: "user", content: [{ type: "image_url" }] }] }, "messages[0].content"],
  [{ ...question, max_tokens: 0 }, "max_tokens"],
  [{ ...question, temperature: "hot" }, "temperature"],
  [{ ...question, top_p: 2 }, "top_p"],
  [{ ...question, stop: [""] }, "stop[0]"],
  [{ ...question, n: 2 }, "n"],
  [{ ...question, tools: [{ type: "function" }] }, "tools"],
  [{ ...question, response_format: { type: "json_object" } }, "response_format.type"],
])("bad input is answered with 400 and the field's name: %j", async (body, field) => {
  const { chat } = await serve();
  const response = await chat(body);
  expect(response.status).toBe(400);
  expect(await errorOf(response)).toMatchObject({ type: "invalid_request_error", param: field, code: "bad_request" });
});

test("a body that is not JSON is answered without quoting it", async () => {
  const { chat } = await serve();
  const response = await chat('{"secret words"');
  expect(response.status).toBe(400);
  expect((await errorOf(response)).message).not.toContain("secret");
});

test("a body over the cap gets 413 and the server lives on", async () => {
  const { chat, url } = await serve(hello, { maxBodyBytes: 100 });
  expect((await chat({ ...question, padding: "x".repeat(200) })).status).toBe(413);
  expect((await fetch(`${url}/health`)).status).toBe(200);
});

test("a model that it does not have is 404, an unknown path too", async () => {
  const { chat, url } = await serve();
  const response = await chat({ ...question, model: "gpt-9" });
  expect(response.status).toBe(404);
  expect(await errorOf(response)).toMatchObject({ param: "model", code: "model_not_found" });
  expect((await fetch(`${url}/v1/embeddings`)).status).toBe(404);
});

test("with a token set nobody asks without it, except for health", async () => {
  const { chat, url } = await serve(hello, { token: "right" });
  expect((await chat(question)).status).toBe(401);
  expect((await chat(question, { headers: { authorization: "Bearer wrong" } })).status).toBe(401);
  expect((await chat(question, { headers: { authorization: "Bearer right" } })).status).toBe(200);
  expect((await fetch(`${url}/v1/models`)).status).toBe(401);
  expect((await fetch(`${url}/health`)).status).toBe(200);
});

test("the model list tells who serves it and how much it holds", async () => {
  const { url } = await serve();
  expect(await (await fetch(`${url}/v1/models`)).json()).toMatchObject({
    data: [{ id: "tiny", owned_by: "tiermesh-embedded", meta: { context_length: 64, parallel_slots: 1 } }],
  });
});

test("a prompt that is too long is 400 also when streaming was asked for", async () => {
  const { chat } = await serve(() => {
    throw new ContextOverflowError(100, 64);
  });
  const response = await chat({ ...question, stream: true });
  expect(response.status).toBe(400);
  expect(await errorOf(response)).toMatchObject({ param: "messages" });
});

test("a model's failure is 500 without its message, and in mid-stream an error event", async () => {
  const { chat } = await serve(async function* () {
    yield { type: "text", text: "He" };
    throw new Error("about your secret prompt");
  });
  const whole = await chat(question);
  expect(whole.status).toBe(500);
  expect(await whole.text()).not.toContain("secret");
  const stream = await (await chat({ ...question, stream: true })).text();
  expect(stream).toContain('"error"');
  expect(stream).not.toContain("[DONE]");
  expect(stream).not.toContain("secret");
});

test("a full waiting line is answered at once with 503 and Retry-After", async () => {
  const hold = held();
  const { chat } = await serve(hold.write, { maxWaiting: 0 });
  const start = hold.nextStart();
  const first = chat(question);
  await start;
  const second = await chat(question);
  expect(second.status).toBe(503);
  expect(second.headers.get("retry-after")).toBe("1");
  expect(await errorOf(second)).toMatchObject({ code: "all_busy" });
  hold.release();
  expect((await first).status).toBe(200);
});

test("a waiting caller gives up after its time", async () => {
  const hold = held();
  const { chat } = await serve(hold.write, { maxWaiting: 1, maxWaitMs: 1 });
  const start = hold.nextStart();
  const first = chat(question);
  await start;
  expect((await chat(question)).status).toBe(503);
  hold.release();
  expect((await first).status).toBe(200);
});

test("when the caller goes the generation is aborted and its slot is free for the next", async () => {
  const hold = held();
  const { port, chat } = await serve(hold.write);
  const start = hold.nextStart();
  const socket = connect(port, "127.0.0.1");
  const body = JSON.stringify(question);
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: ${String(body.length)}\r\n\r\n${body}`,
  );
  await start;
  const aborted = once(hold.started[0] ?? new EventTarget(), "abort");
  socket.destroy();
  await aborted;
  hold.release();
  expect((await chat(question)).status).toBe(200);
});
