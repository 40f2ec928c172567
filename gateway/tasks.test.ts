import OpenAI from "openai";
import { describe, expect, test } from "vitest";
import { ACCEPTED, FAKE_JOB, FakeMesh, ending, refusal, saying } from "../test/kit/fake-mesh.ts";
import { MeshError, type TaskOutput } from "../bus-schemas/index.ts";
import { embeddingOf } from "../service/embeddings.ts";
import { startGateway } from "../test/kit/gateway.ts";

/** Completions and embeddings by the official SDK, reranking by plain HTTP, against the gateway's real server. */

async function over(mesh: FakeMesh) {
  const gateway = await startGateway(mesh);
  const openai = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: "none", maxRetries: 0 });
  const post = async (path: string, body: unknown, headers: Record<string, string> = {}) => {
    const response = await fetch(`${gateway.url}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
    });
    return {
      status: response.status,
      headers: response.headers,
      body: (await response.json()) as Record<string, unknown>,
    };
  };
  return { openai, post, [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose]() };
}

const whole = (output: TaskOutput) =>
  saying(ACCEPTED, ending({ output, usage: { prompt_tokens: 7, completion_tokens: 0 } }));

/** Of a call that names nobody. */
const SALTED = { commitment_salt: expect.stringMatching(/^[A-Za-z0-9_-]{43}$/) };

describe("completions", () => {
  const SAYING = saying(ACCEPTED, { type: "delta", content: " upon" }, { type: "delta", content: " a time" }, ending());

  test("come back whole, and the job is no chat", async () => {
    const mesh = new FakeMesh(SAYING);
    await using gateway = await over(mesh);
    const answer = await gateway.openai.completions.create({
      model: "auto",
      prompt: "Once",
      suffix: ".",
      max_tokens: 9,
    });
    expect(answer).toMatchObject({
      id: `cmpl-${FAKE_JOB}`,
      object: "text_completion",
      model: "tiny:1b",
      choices: [{ index: 0, text: " upon a time", finish_reason: "stop" }],
      usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
    });
    expect(mesh.seen[0]?.job).toEqual({ task: "completion", prompt: "Once", suffix: ".", max_tokens: 9, ...SALTED });
  });

  test("are streamed piece by piece, with the counts last when asked for", async () => {
    await using gateway = await over(new FakeMesh(SAYING));
    const stream = await gateway.openai.completions.create({
      model: "tiny:1b",
      prompt: ["Once"],
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = await Array.fromAsync(stream);
    expect(chunks.map((chunk) => chunk.choices[0]?.text ?? null)).toEqual([" upon", " a time", "", null]);
    expect(chunks.map((chunk) => chunk.choices[0]?.finish_reason)).toEqual([null, null, "stop", undefined]);
    expect(chunks.at(-1)?.usage).toEqual({ prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 });
    expect(new Set(chunks.map((chunk) => chunk.id))).toEqual(new Set([`cmpl-${FAKE_JOB}`]));
  });

  test.each([
    [{}, "prompt"],
    [{ prompt: "" }, "prompt"],
    [{ prompt: ["a", "b"] }, "prompt"],
    [{ prompt: [1, 2] }, "prompt"],
    [{ prompt: "a", echo: true }, "echo"],
    [{ prompt: "a", n: 2 }, "n"],
    [{ prompt: "a", stream: "yes" }, "stream"],
    [{ prompt: "a", suffix: 1 }, "suffix"],
  ])("%j is refused by the name of the field %s", async (body, param) => {
    await using gateway = await over(new FakeMesh(SAYING));
    expect(await gateway.post("/v1/completions", body)).toMatchObject({
      status: 400,
      body: { error: { param, type: "invalid_request_error" } },
    });
  });
});

describe("embeddings", () => {
  const output: TaskOutput = { task: "embedding", embeddings: [embeddingOf([1, 0.5]), embeddingOf([-2, 0])] };

  test("come as the official SDK wants them, which is base64 unless told otherwise", async () => {
    const mesh = new FakeMesh(whole(output));
    await using gateway = await over(mesh);
    for (const format of [undefined, "float", "base64"] as const) {
      const asked = { model: "bge-m3", input: ["a", "b"], dimensions: 2 };
      const answer = await gateway.openai.embeddings.create(
        format === undefined ? asked : { ...asked, encoding_format: format },
      );
      const vectors = answer.data.map(({ embedding }) => embedding as unknown);
      expect(vectors).toEqual(
        format === "base64"
          ? output.embeddings
          : [
              [1, 0.5],
              [-2, 0],
            ],
      );
      expect(answer).toMatchObject({ object: "list", model: "tiny:1b", usage: { prompt_tokens: 7, total_tokens: 7 } });
    }
    expect(mesh.seen[0]?.job).toEqual({
      task: "embedding",
      model: "bge-m3",
      input: ["a", "b"],
      dimensions: 2,
      ...SALTED,
    });
  });

  test("carry the class, the deadline and the trace of their caller, as a chat does", async () => {
    const mesh = new FakeMesh(whole(output));
    await using gateway = await over(mesh);
    const headers = { "mesh-class": "P0", "x-request-timeout-ms": "5000" };
    const answer = await gateway.post("/v1/embeddings", { input: "a", task_type: "rag" }, headers);
    expect([answer.status, answer.headers.get("x-tiermesh-node")]).toEqual([200, "n1"]);
    expect(mesh.seen[0]).toMatchObject({
      job: { task_type: "rag", timeout_ms: 5000, security_level: "P0" },
      options: { dataClass: "P0" },
    });
  });

  test.each([
    [{}, "input"],
    [{ input: {} }, "input"],
    [{ input: [] }, "input"],
    [{ input: ["a", 1] }, "input"],
    [{ input: "a", encoding_format: "hex" }, "encoding_format"],
    [{ input: "a", dimensions: 0 }, "dimensions"],
    [{ input: "a", model: 7 }, "model"],
  ])("%j is refused by the name of the field %s, quoting nothing", async (body, param) => {
    await using gateway = await over(new FakeMesh(whole(output)));
    expect(await gateway.post("/v1/embeddings", body)).toMatchObject({ status: 400, body: { error: { param } } });
  });

  test("a refusal has its HTTP status", async () => {
    const error = new MeshError("no_node", "lacks embedding", { retryAfterMs: 1000 });
    await using gateway = await over(new FakeMesh(saying(refusal(error))));
    expect(await gateway.post("/v1/embeddings", { input: "a" })).toMatchObject({
      status: 503,
      body: { error: { code: "no_node" } },
    });
  });
});

describe("rerank", () => {
  const output: TaskOutput = {
    task: "rerank",
    ranking: [
      { index: 1, score: 0.9 },
      { index: 0, score: 0.1 },
    ],
  };

  test("answers in Jina's shape, which Cohere's clients read, with the documents where they are wanted", async () => {
    const mesh = new FakeMesh(whole(output));
    await using gateway = await over(mesh);
    const asked = { model: "bge-reranker", query: "q", documents: ["a", { text: "b" }], top_n: 2 };
    const { body } = await gateway.post("/v1/rerank", asked);
    expect(body).toEqual({
      id: `rerank-${FAKE_JOB}`,
      object: "list",
      model: "tiny:1b",
      results: [
        { index: 1, relevance_score: 0.9 },
        { index: 0, relevance_score: 0.1 },
      ],
      usage: { prompt_tokens: 7, total_tokens: 7 },
    });
    const again = await gateway.post("/v1/rerank", { ...asked, return_documents: true });
    expect(again.body["results"]).toMatchObject([{ document: { text: "b" } }, { document: { text: "a" } }]);
    expect(mesh.seen[0]?.job).toEqual({
      task: "rerank",
      model: "bge-reranker",
      query: "q",
      documents: ["a", "b"],
      top_n: 2,
      ...SALTED,
    });
  });

  test.each([
    [{ documents: ["a"] }, "query"],
    [{ query: "", documents: ["a"] }, "query"],
    [{ query: "q" }, "documents"],
    [{ query: "q", documents: [] }, "documents"],
    [{ query: "q", documents: "a" }, "documents"],
    [{ query: "q", documents: ["a", 7] }, "documents[1]"],
    [{ query: "q", documents: ["a", { title: "x" }] }, "documents[1]"],
    [{ query: "q", documents: ["a"], top_n: 0 }, "top_n"],
    [{ query: "q", documents: ["a"], return_documents: "yes" }, "return_documents"],
  ])("%j is refused by the name of the field %s", async (body, param) => {
    await using gateway = await over(new FakeMesh(whole(output)));
    expect(await gateway.post("/v1/rerank", body)).toMatchObject({ status: 400, body: { error: { param } } });
  });
});
