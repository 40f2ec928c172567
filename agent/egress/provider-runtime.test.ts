import { createHmac, randomBytes } from "node:crypto";
import { afterEach, expect, test } from "vitest";
import type { ServerResponse } from "node:http";
import { KEY, PROMPT, closeProviders, cloudOver, never } from "../../test/kit/cloud-runtime.ts";
import {
  ANTHROPIC_HELLO,
  ANTHROPIC_TOOLS,
  DEEPSEEK_REASONING,
  OPENAI_HELLO,
  chunk,
  type FakeProvider,
} from "../../test/kit/provider-servers.ts";
import { runtimeJob } from "../../test/kit/runtime-job.ts";

afterEach(closeProviders);

type Behave = FakeProvider["behave"];

test("OpenAI: the documented request goes out, and the stream comes back with usage and its price", async () => {
  const price = ", price_per_1k_input: 0.01, price_per_1k_output: 0.02, price_per_1k_cached_input: 0.001";
  const { server, run, record } = await cloudOver(OPENAI_HELLO, { price, more: "headers: {X-Team: research}," });
  const tools = [{ type: "function", function: { name: "f" } }];
  const parameters = { max_tokens: 9, tools, response_format: { type: "json_object" } };
  expect(await run({ parameters })).toEqual([
    { type: "delta", content: "Hello" },
    { type: "delta", content: " from the cloud" },
    {
      type: "done",
      finishReason: "stop",
      usage: { prompt_tokens: 1000, completion_tokens: 500, estimated: false },
      // 800 × 0.01 + 200 × 0.001 + 500 × 0.02, by the thousand.
      cost: { amount: 0.0182, currency: "USD" },
    },
  ]);
  expect(server.requests).toHaveLength(1);
  expect(server.requests[0]).toMatchObject({
    method: "POST",
    path: "/chat/completions",
    headers: { authorization: `Bearer ${KEY}`, "x-team": "research", "accept-encoding": "identity" },
    json: {
      ...parameters,
      model: "up-model",
      messages: [{ role: "user", content: PROMPT }],
      stream: true,
      stream_options: { include_usage: true },
    },
  });
  // Nothing of the mesh.
  expect(server.requests[0]?.text).not.toMatch(/job-0000|mesh/);
  expect(record()).toMatchObject({ name: "cloud", kind: "openai", healthy: true, status_reason: null, slots: 8 });
});

test("OpenAI's own service is told max_completion_tokens", async () => {
  const { server, run } = await cloudOver(OPENAI_HELLO, { more: "max_tokens_field: max_completion_tokens," });
  await run({ parameters: { max_tokens: 9 } });
  expect(server.requests[0]?.json).toMatchObject({ max_completion_tokens: 9 });
  expect(server.requests[0]?.json).not.toHaveProperty("max_tokens");
});

test("what leaves the house is committed to byte for byte before it goes, and nothing when the gate holds it back", async () => {
  const { server, run, sent } = await cloudOver(OPENAI_HELLO);
  const salt = randomBytes(32);
  await run({ commitmentSalt: salt.toString("base64url") });
  const text = server.requests[0]?.text ?? "";
  expect(text).toContain(PROMPT);
  expect(sent).toEqual([`hmac-sha256:${createHmac("sha256", salt).update(text).digest("hex")}`]);
  await expect(run({ declared: { subject: "P0", header: "P0", body: "P0" } })).rejects.toThrow(/egress gate/);
  expect(sent).toHaveLength(1);
});

test("DeepSeek: reasoning comes apart from the answer, and its cache counts in the price of the registry's model", async () => {
  const { run } = await cloudOver(DEEPSEEK_REASONING, { registryPrices: { "mesh-model": 3 } });
  expect(await run()).toEqual([
    { type: "delta", reasoning: "9.11 is" },
    { type: "delta", reasoning: " smaller" },
    { type: "delta", content: "9.8" },
    {
      type: "done",
      finishReason: "stop",
      usage: { prompt_tokens: 20, completion_tokens: 12, estimated: false },
      cost: { amount: 0.096, currency: "USD" },
    },
  ]);
});

test("Anthropic: the documented request goes out, and the message comes back in OpenAI's shape", async () => {
  const { server, run } = await cloudOver(ANTHROPIC_HELLO, { kind: "anthropic" });
  expect(await run()).toEqual([
    { type: "delta", content: "Hello" },
    { type: "delta", content: "!" },
    { type: "done", finishReason: "stop", usage: { prompt_tokens: 40, completion_tokens: 15, estimated: false } },
  ]);
  expect(server.requests[0]).toMatchObject({
    path: "/v1/messages",
    headers: { "x-api-key": KEY, "anthropic-version": "2023-06-01" },
    json: { model: "up-model", max_tokens: 4096, stream: true },
  });
  expect(server.requests[0]?.headers).not.toHaveProperty("authorization");
});

test("Anthropic: thinking is reasoning, and tools become OpenAI's tool calls, also without arguments", async () => {
  const { run } = await cloudOver(ANTHROPIC_TOOLS, { kind: "anthropic" });
  const piece = (index: number, args: string) => ({
    type: "delta",
    tool_calls: [{ index, function: { arguments: args } }],
  });
  const start = (index: number, id: string, name: string) => ({
    type: "delta",
    tool_calls: [{ index, id, type: "function", function: { name, arguments: "" } }],
  });
  expect(await run()).toEqual([
    { type: "delta", reasoning: "Weather?" },
    { type: "delta", content: "I look." },
    start(0, "toolu_01T1x1fJ34qAmk2tNTrN7Up6", "get_weather"),
    piece(0, '{"location":'),
    piece(0, ' "Paris"}'),
    start(1, "toolu_02", "get_time"),
    piece(1, "{}"),
    { type: "done", finishReason: "tool_calls", usage: { prompt_tokens: 40, completion_tokens: 89, estimated: false } },
  ]);
});

test("a cancel closes the connection and says nothing of the provider", async () => {
  const gone = Promise.withResolvers<void>();
  const { run, record } = await cloudOver((request, response) => {
    request.socket.on("close", () => gone.resolve());
    response.writeHead(200, { "content-type": "text/event-stream" }).write(chunk({ content: "a" }));
    setImmediate(() => abort.abort());
  });
  const abort = new AbortController();
  const chunks = await run({}, abort.signal);
  expect(chunks.every(({ type }) => type === "delta")).toBe(true);
  await gone.promise;
  expect(record().healthy).toBe(true);
});

const head = (response: ServerResponse) => response.writeHead(200, { "content-type": "text/event-stream" });

test.each<[string, Behave]>([
  ["no head", () => undefined],
  ["a head and nothing more", (_request, response) => void head(response).flushHeaders()],
  [
    "a slow loris, whose bytes never make an event",
    (request, response) => {
      head(response);
      const timer = setInterval(() => response.write("d"), 100);
      request.socket.on("close", () => clearInterval(timer));
    },
  ],
])("%s: silence ends it, and the connection is closed", async (_, behave) => {
  const gone = Promise.withResolvers<void>();
  const { failure, record } = await cloudOver(
    (request, response, body) => {
      request.socket.on("close", () => gone.resolve());
      behave(request, response, body);
    },
    { more: "timeout_s: 1," },
  );
  expect(await failure()).toMatchObject({ code: "runtime_failed", message: "the provider sent nothing for 1 s" });
  await gone.promise;
  expect(record().healthy).toBe(false);
});

/** Writes the same block until the other side closes or a gigabyte is out. */
function flood(response: ServerResponse, block: string): void {
  let left = 1024;
  const more = () => {
    while (left-- > 0) if (!response.write(block)) return void response.once("drain", more);
    response.end();
  };
  more();
}
const MEBIBYTE = "x".repeat(1024 * 1024);

test.each<[string, Behave, string]>([
  ["one event of a gigabyte", (_r, response) => flood(head(response), MEBIBYTE), "too long"],
  ["a gigabyte of events", (_r, response) => flood(head(response), `: ${MEBIBYTE}\n\n`), "too long"],
  ["an error of a gigabyte", (_r, response) => flood(response.writeHead(500), MEBIBYTE), "HTTP 500"],
])("%s is cut off early", async (_, behave, message) => {
  const { failure, server } = await cloudOver(behave);
  expect((await failure()).message).toContain(message);
  expect(server.bytesOut()).toBeLessThan(100 * 1024 * 1024);
});

test("a job that the API cannot take never goes out, and is its caller's to change", async () => {
  const { failure, server, record } = await cloudOver(ANTHROPIC_HELLO, { kind: "anthropic" });
  expect(await failure({ parameters: { response_format: { type: "json_object" } } })).toMatchObject({
    code: "bad_request",
    field: "response_format",
  });
  expect(await failure({ model: "other" })).toMatchObject({ code: "no_node" });
  expect(server.bytesIn()).toBe(0);
  expect(record().healthy).toBe(true);
});

test("a connection whose answer is complete serves the next job; one that was left does not", async () => {
  const { run, server, runtime } = await cloudOver(OPENAI_HELLO);
  const sockets = new Set<unknown>();
  const closed: Promise<void>[] = [];
  server.behave = (request, response, body) => {
    sockets.add(request.socket);
    closed.push(new Promise((resolve) => request.socket.once("close", () => resolve())));
    OPENAI_HELLO(request, response, body);
  };
  // Node gives the connection back a moment after the end of the body.
  await expect.poll(async () => (await run()) && server.requests.length - sockets.size).toBeGreaterThan(0);
  const job = runtimeJob({ model: "mesh-model" });
  server.behave = (request, response) => {
    closed.push(new Promise((resolve) => request.socket.once("close", () => resolve())));
    head(response).write(chunk({ content: "a" }));
  };
  for await (const _ of runtime.run(job, never)) break;
  await closed.at(-1);
});
