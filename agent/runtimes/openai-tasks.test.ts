import type { ServerResponse } from "node:http";
import { afterEach, describe, expect, test } from "vitest";
import type { TaskInput } from "../../bus-schemas/index.ts";
import { floatsOf } from "../../service/embeddings.ts";
import { PosedRuntimes, modelsOf, never } from "../../test/kit/posed-runtimes.ts";
import { CHAT, HELLO, event, stream } from "../../test/kit/runtime-servers.ts";
import { runtimeJob } from "../../test/kit/runtime-job.ts";
import type { StreamDone } from "./openai-answer.ts";
import { streamJob } from "./openai-http.ts";
import type { RuntimeJob } from "./runtime.ts";

/** What is asked beside chat, against the documented answers of the servers that do it. */

const posed = new PosedRuntimes();
afterEach(() => posed.closeAll());

const secret = "the-secret-text";

async function run(key: string, route: unknown, job: Partial<RuntimeJob>) {
  const server = await posed.serve({ [key]: route });
  const chunks = [];
  for await (const chunk of streamJob({ host: "127.0.0.1", port: server.port }, runtimeJob(job), never))
    chunks.push(chunk);
  return { chunks, done: chunks.at(-1) as StreamDone, server, body: server.bodies[0] };
}

const failure = (key: string, route: unknown, input: TaskInput): Promise<unknown> =>
  run(key, route, { input }).then(
    () => "no failure",
    (error: unknown) => error,
  );

test("pictures, tools and a wanted form reach the runtime as they were sent", async () => {
  const messages = [
    {
      role: "user" as const,
      content: [
        { type: "text", text: "what is this?" },
        { type: "image_url", image_url: { url: "data:image/png;base64,iVBORw0KGgo=", detail: "high" } },
      ],
    },
    {
      role: "assistant" as const,
      content: null,
      tool_calls: [{ id: "c1", type: "function", function: { name: "f", arguments: "{}" } }],
    },
    { role: "tool" as const, tool_call_id: "c1", content: "42" },
  ];
  const parameters = {
    tools: [
      { type: "function", function: { name: "f", strict: true, parameters: { type: "object", properties: {} } } },
    ],
    tool_choice: { type: "function", function: { name: "f" } },
    response_format: { type: "json_schema", json_schema: { name: "s", schema: { type: "object" }, strict: true } },
  };
  const { body } = await run(CHAT, HELLO, { model: "m", messages, parameters });
  expect(body).toEqual({ ...parameters, messages, model: "m", stream: true, stream_options: { include_usage: true } });
});

describe("completion", () => {
  const KEY = "POST /v1/completions";
  const piece = (text: string, reason: string | null = null) =>
    event({
      id: "cmpl-1",
      object: "text_completion",
      choices: [{ index: 0, text, logprobs: null, finish_reason: reason }],
    });

  test("is streamed from the path for bare texts, with its suffix", async () => {
    const answer = stream(
      piece(" upon"),
      piece(" a time", "length"),
      event({ choices: [], usage: { prompt_tokens: 1, completion_tokens: 4 } }),
      event("[DONE]"),
    );
    const input = { task: "completion", prompt: "Once", suffix: "." } as const;
    const { chunks, body } = await run(KEY, answer, { input, parameters: { max_tokens: 4 } });
    expect(chunks).toEqual([
      { type: "delta", content: " upon" },
      { type: "delta", content: " a time" },
      expect.objectContaining({
        finishReason: "length",
        usage: { prompt_tokens: 1, completion_tokens: 4, estimated: false },
      }),
    ]);
    expect(body).toEqual({
      model: "m",
      prompt: "Once",
      suffix: ".",
      max_tokens: 4,
      stream: true,
      stream_options: { include_usage: true },
    });
  });

  test("is counted where the runtime does not", async () => {
    const answer = stream(piece("four char"), piece("", "stop"), event("[DONE]"));
    const { done } = await run(KEY, answer, { input: { task: "completion", prompt: "eight ch" } });
    expect(done.usage).toEqual({ prompt_tokens: 2, completion_tokens: 3, estimated: true });
  });
});

describe("embedding", () => {
  const KEY = "POST /v1/embeddings";
  const list = (data: unknown, usage: unknown = { prompt_tokens: 9, total_tokens: 9 }) => ({
    object: "list",
    data,
    model: "m",
    usage,
  });
  const vector = (index: number, ...embedding: number[]) => ({ object: "embedding", index, embedding });

  test("asks for numbers and brings the vectors in the order of the texts, whatever theirs", async () => {
    const { done, body } = await run(KEY, list([vector(1, 3, 4), vector(0, 1, 0.5)]), {
      input: { task: "embedding", input: ["a", "b"], dimensions: 2 },
      parameters: {},
    });
    expect(body).toEqual({ model: "m", input: ["a", "b"], dimensions: 2, encoding_format: "float" });
    expect(done).toMatchObject({
      finishReason: "stop",
      usage: { prompt_tokens: 9, completion_tokens: 0, estimated: false },
      output: { task: "embedding" },
    });
    const { output } = done;
    expect(output?.task === "embedding" && output.embeddings.map(floatsOf)).toEqual([
      [1, 0.5],
      [3, 4],
    ]);
  });

  test.each<[TaskInput & { task: "embedding" }, number]>([
    [{ task: "embedding", input: "eight ch" }, 2],
    [{ task: "embedding", input: ["eight ch"] }, 2],
    [{ task: "embedding", input: [7, 8, 9] }, 3],
    [{ task: "embedding", input: [[7, 8]] }, 2],
  ])("%j is one vector, and is counted where the runtime counts nothing", async (input, tokens) => {
    for (const usage of [null, "many", { prompt_tokens: 0, total_tokens: 0 }]) {
      const { done } = await run(KEY, list([vector(0, 1)], usage), { input });
      expect(done.usage).toEqual({ prompt_tokens: tokens, completion_tokens: 0, estimated: true });
    }
  });

  test.each([
    ["no JSON", (_: unknown, response: ServerResponse) => void response.end(`<${secret}>`)],
    ["no list", { data: secret }],
    ["too few vectors", list([vector(0, 1)])],
    ["too many vectors", list([vector(0, 1), vector(1, 1), vector(2, 1)])],
    ["the same vector twice", list([vector(0, 1), vector(0, 1)])],
    ["vectors of two lengths", list([vector(0, 1), vector(1, 1, 2)])],
    ["an empty vector", list([vector(0), vector(1)])],
    ["a vector of texts", list([{ index: 0, embedding: [secret] }, vector(1, 1)])],
    ["an error as its answer", { error: { message: secret } }],
    [
      "a redirect",
      (_: unknown, response: ServerResponse) => void response.writeHead(307, { location: "http://x" }).end(),
    ],
    ["a closed connection", (_: unknown, response: ServerResponse) => response.destroy()],
  ])("an answer with %s is a failure that quotes nothing", async (_name, route) => {
    const error = await failure(KEY, route, { task: "embedding", input: [secret, "b"] });
    expect(error).toMatchObject({ code: "runtime_failed" });
    expect(JSON.stringify([String(error), (error as Error).stack])).not.toContain(secret);
  });

  test("a text that is too long for the model is the caller's fault", async () => {
    const route = (_: unknown, response: ServerResponse) => void response.writeHead(400).end(secret);
    const error = await failure(KEY, route, { task: "embedding", input: secret });
    expect(error).toMatchObject({ code: "bad_request" });
    expect(String(error)).not.toContain(secret);
  });
});

describe("rerank", () => {
  const KEY = "POST /v1/rerank";
  const input: TaskInput = { task: "rerank", query: "q", documents: ["a", "b", "c"] };
  const best = [
    { index: 2, score: 0.9 },
    { index: 0, score: 0.2 },
    { index: 1, score: -3 },
  ];
  const results = [
    { index: 0, relevance_score: 0.2 },
    { index: 1, relevance_score: -3 },
    { index: 2, relevance_score: 0.9 },
  ];

  test.each([
    ["llama-server", { model: "m", object: "list", usage: { prompt_tokens: 30, total_tokens: 30 }, results }],
    [
      "vLLM",
      {
        id: "rerank-1",
        model: "m",
        usage: { total_tokens: 30 },
        results: results.map((each) => ({ ...each, document: { text: "x" } })),
      },
    ],
    ["Xinference", { id: "1", results, meta: { tokens: { input_tokens: 30, output_tokens: 30 } } }],
  ])("reads %s's answer, the best first", async (_, answer) => {
    const { done, body } = await run(KEY, answer, { input });
    expect(done.output).toEqual({ task: "rerank", ranking: best });
    expect(done.usage).toEqual({ prompt_tokens: 30, completion_tokens: 0, estimated: false });
    expect(body).toEqual({ model: "m", query: "q", documents: ["a", "b", "c"], return_documents: false });
  });

  test("reads SGLang's bare list, and counts what it does not", async () => {
    const answer = results.map(({ index, relevance_score: score }) => ({ score, index, document: "x", meta_info: {} }));
    const { done } = await run(KEY, answer, { input });
    expect(done.output).toEqual({ task: "rerank", ranking: best });
    expect(done.usage).toEqual({ prompt_tokens: 6, completion_tokens: 0, estimated: true });
  });

  test("the best so many are wanted, whether the runtime cuts or not", async () => {
    const some = { ...input, topN: 2 } as const;
    const [first, second] = best;
    for (const answer of [{ results }, { results: [results[2], results[0]] }]) {
      const { done, body } = await run(KEY, answer, { input: some });
      expect(done.output).toEqual({ task: "rerank", ranking: [first, second] });
      expect(body).toMatchObject({ top_n: 2 });
    }
  });

  test.each([
    ["no results", { results: [] }],
    ["too few results", { results: results.slice(1) }],
    ["a document that was not sent", { results: [...results.slice(1), { index: 3, relevance_score: 1 }] }],
    ["a document twice", { results: [results[0], results[0], results[1]] }],
    ["a score that is none", { results: [...results.slice(1), { index: 0, relevance_score: "high" }] }],
    ["a score beyond numbers", { results: [...results.slice(1), { index: 0, relevance_score: null }] }],
  ])("an answer with %s is a failure", async (_, answer) => {
    expect(await failure(KEY, answer, input)).toMatchObject({ code: "runtime_failed" });
  });
});

test("a model is offered for what its server serves: no reranker of Ollama, no bare text of an embedding model", async () => {
  const entry = (name: string, at: number) => ({ name, model: name, size: 1, digest: `d${at}` });
  const names = ["llama3.2", "bge-m3", "bge-reranker-v2-m3"];
  const server = await posed.pose("ollama", {
    "GET /api/tags": { models: names.map(entry) },
    "GET /api/ps": { models: [] },
    "POST /api/show": {},
  });
  expect((await modelsOf(server)).map(({ name, capabilities }) => [name, capabilities])).toEqual([
    ["llama3.2", expect.arrayContaining(["text", "chat", "completion"])],
    ["bge-m3", ["embedding"]],
  ]);
});
