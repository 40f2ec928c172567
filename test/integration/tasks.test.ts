import type { IncomingMessage, ServerResponse } from "node:http";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { JobRequestInput } from "../../bus-schemas/index.ts";
import { MeshClient } from "../../client/index.ts";
import { connectBus, type Bus } from "../../service/bus.ts";
import { embeddingOf } from "../../service/embeddings.ts";
import { createLog } from "../../service/log.ts";
import { eventually, startMesh, type TestMesh } from "../kit/mesh.ts";
import { CHAT, HELLO, event, startServer, stream, type TestServer } from "../kit/runtime-servers.ts";
import { SURFACES } from "../kit/runtime-surfaces.ts";

/** Every task from the official SDK to a runtime and back, over the whole mesh; the runtime is Xinference's documented API. */

let mesh: TestMesh;
let runtime: TestServer;
let openai: OpenAI;
let client: MeshClient;
let tap: Bus;
/** Everything on the bus, as it stands in the broker. */
const heard: Buffer[] = [];

const LLM = "qwen2.5-instruct";
const EMBEDDER = "my-bge";
const RERANKER = "my-reranker";

const json =
  <T>(answer: (body: T) => unknown) =>
  (_request: IncomingMessage, response: ServerResponse, body: string) =>
    void response.setHeader("content-type", "application/json").end(JSON.stringify(answer(JSON.parse(body) as T)));

/** As long as the text, so that a test sees which text a vector belongs to. */
const vectorOf = (text: string) => [text.length, 0.5, -1];

beforeAll(async () => {
  const surface = SURFACES.find(({ kind }) => kind === "xinference");
  if (surface === undefined) throw new Error("no such surface");
  runtime = await startServer(
    {
      ...surface.routes,
      [CHAT]: HELLO,
      "POST /v1/completions": stream(
        event({ object: "text_completion", choices: [{ index: 0, text: " upon a time", finish_reason: null }] }),
        event({ object: "text_completion", choices: [{ index: 0, text: "", finish_reason: "length" }] }),
        event("[DONE]"),
      ),
      "POST /v1/embeddings": json(({ input }: { input: string[] }) => ({
        object: "list",
        data: input.map((text, index) => ({ object: "embedding", index, embedding: vectorOf(text) })),
      })),
      "POST /v1/rerank": json(({ documents }: { documents: string[] }) => ({
        results: documents.map((text, index) => ({ index, relevance_score: text.length })),
        meta: { tokens: { input_tokens: 11 } },
      })),
    },
    surface.headers,
  );
  mesh = await startMesh({ TIERMESH_RUNTIMES: runtime.url, TIERMESH_LOOPBACK: "false" }, [], { openBus: true });
  openai = new OpenAI({ baseURL: `${mesh.gatewayUrl}/v1`, apiKey: "none", maxRetries: 0 });
  client = await MeshClient.connect({ ...mesh.address, name: "caller" });
  tap = await connectBus("wiretap", mesh.address, createLog("test", "silent"));
  tap.listen(">", (msg) => void heard.push(Buffer.from(msg.data)));
  await tap.nc.flush();
  await eventually("the models", async () => (await openai.models.list()).data.some(({ id }) => id === EMBEDDER));
});
afterAll(async () => {
  await tap?.drain();
  await client?.close();
  await mesh?.[Symbol.asyncDispose]();
  await runtime?.close();
});

const rerank = async (body: object, dataClass: string) => {
  const response = await fetch(`${mesh.gatewayUrl}/v1/rerank`, {
    method: "POST",
    headers: { "content-type": "application/json", "mesh-class": dataClass },
    body: JSON.stringify(body),
  });
  return (await response.json()) as Record<string, unknown>;
};

describe.each(["P0", "P2"])("of class %s", (dataClass) => {
  const options = { headers: { "mesh-class": dataClass } };

  test("embeddings come back as the runtime gave them, counted where it did not", async () => {
    const texts = ["four", "longer text"];
    const answer = await openai.embeddings.create({ model: EMBEDDER, input: texts }, options);
    expect(answer.data.map(({ embedding }) => embedding)).toEqual(texts.map(vectorOf));
    expect(answer).toMatchObject({ model: EMBEDDER, usage: { prompt_tokens: 4, total_tokens: 4 } });
  });

  test("a model is found that can do what is asked, where none is named", async () => {
    const { response } = await openai.embeddings.create({ model: "auto", input: ["a"] }, options).withResponse();
    expect(response.headers.get("x-tiermesh-model")).toBe(EMBEDDER);
    const ranked = await rerank({ query: "q", documents: ["a", "bbb", "cc"], top_n: 2 }, dataClass);
    expect(ranked).toMatchObject({
      model: RERANKER,
      results: [
        { index: 1, relevance_score: 3 },
        { index: 2, relevance_score: 2 },
      ],
      usage: { prompt_tokens: 11 },
    });
    const chat = await openai.chat.completions
      .create({ model: "auto", messages: [{ role: "user", content: "hi" }] }, options)
      .withResponse();
    expect(chat.response.headers.get("x-tiermesh-model")).toBe(LLM);
  });

  test("a bare text is gone on with, whole and streamed", async () => {
    const asked = { model: LLM, prompt: "Once", max_tokens: 4 };
    const whole = await openai.completions.create(asked, options);
    expect(whole.choices[0]).toMatchObject({ text: " upon a time", finish_reason: "length" });
    const chunks = await Array.fromAsync(await openai.completions.create({ ...asked, stream: true }, options));
    expect(chunks.map((chunk) => chunk.choices[0]?.text).join("")).toBe(" upon a time");
  });

  test("pictures, tools and a wanted form reach the runtime as they were sent", async () => {
    const content = [
      { type: "text" as const, text: "what is this?" },
      { type: "image_url" as const, image_url: { url: "data:image/png;base64,iVBORw0KGgo=" } },
    ];
    const tools = [{ type: "function" as const, function: { name: "f", parameters: { type: "object" } } }];
    const form = { type: "json_object" as const };
    const messages = [{ role: "user" as const, content }];
    await openai.chat.completions.create({ model: LLM, messages, tools, response_format: form }, options);
    expect(runtime.bodies.at(-1)).toMatchObject({ messages, tools, response_format: form });
  });

  test("a model that cannot do it is named with what it lacks", async () => {
    await expect(openai.embeddings.create({ model: LLM, input: "a" }, options)).rejects.toMatchObject({ status: 503 });
  });
});

test("a program gets vectors as the bytes that travel", async () => {
  const result = await client.submit({ task: "embedding", model: EMBEDDER, input: ["four"], security_level: "P1" });
  expect(result).toMatchObject({
    status: "finished",
    message: null,
    output: { task: "embedding", embeddings: [embeddingOf(vectorOf("four"))] },
    usage: { estimated: true },
  });
});

test("the content of a sealed job of any task is on no wire, in no log and in no record", async () => {
  const canary = "Kanarienvogel-7Q";
  const jobs: JobRequestInput[] = [
    { task: "embedding", model: EMBEDDER, input: [canary] },
    { task: "rerank", model: RERANKER, query: canary, documents: [`${canary}-2`, "b"] },
    { task: "completion", model: LLM, prompt: canary, suffix: `${canary}-3` },
  ];
  for (const job of jobs)
    expect(await client.submit({ ...job, security_level: "P0" })).toMatchObject({ status: "finished" });
  expect(runtime.bodies.filter((body) => JSON.stringify(body).includes(canary))).toHaveLength(3);
  await eventually("recorded", async () => {
    const { out } = await mesh.run("audit", "tail", "--type", "job_ended", "--json");
    return out.includes('"sealed"');
  });
  await tap.nc.flush();
  const forms = [canary, Buffer.from(canary).toString("base64").slice(0, -4), Buffer.from(canary).toString("hex")];
  const leaks = (bytes: Buffer | string) => forms.some((form) => bytes.includes(form));
  expect(heard.length).toBeGreaterThan(20);
  expect(heard.filter(leaks)).toEqual([]);
  // What may go in clear is heard, so the wiretap hears; and even that is in no log and in no record.
  const open = "Spatz-7Q";
  await client.submit({ task: "embedding", model: EMBEDDER, input: [open], security_level: "P2" });
  await tap.nc.flush();
  expect(heard.some((bytes) => bytes.includes(open))).toBe(true);
  expect(mesh.texts(".").filter((text) => leaks(text) || text.includes(open))).toEqual([]);
  expect([...mesh.proc.lines, ...mesh.proc.errors].filter(leaks)).toEqual([]);
});

describe("tiermesh demo", () => {
  interface Demo {
    jobs: number;
    finished: number;
    failures: { kind: string; status: string; error: { code: string } | null }[];
    served: {
      kind: string;
      node_id: string;
      model: string;
      score: { total: number } | null;
      ttft_ms_median: number | null;
    }[];
    all: { kind: string }[];
  }
  const demo = async (seconds: string) => {
    const { code, out } = await mesh.run("demo", "--seconds", seconds, "--json");
    return { code, ...(JSON.parse(out) as Demo) };
  };

  test("sends what there are models for, each once at least, and says who served it and by what score", async () => {
    const { code, failures, finished, jobs, served } = await demo("6");
    expect([code, failures, finished]).toEqual([0, [], jobs]);
    const kinds = new Map(served.map((one) => [one.kind, one]));
    expect([...kinds.keys()]).toEqual(["chat P0", "chat P1", "chat P2", "embedding P2", "rerank P2"]);
    expect(kinds.get("chat P1")).toMatchObject({ node_id: "here", model: LLM, ttft_ms_median: expect.any(Number) });
    expect(kinds.get("embedding P2")).toMatchObject({ model: EMBEDDER, ttft_ms_median: null });
    for (const { score } of served) expect(score?.total).toBeGreaterThan(0);
  });

  test("ends with 1 when a job fails that a router had a place for, and says which and why", async () => {
    runtime.routes.set(CHAT, (_: IncomingMessage, response: ServerResponse) => void response.writeHead(500).end("{}"));
    const { code, failures } = await demo("1");
    runtime.routes.set(CHAT, HELLO);
    expect(code).toBe(1);
    expect(failures[0]).toMatchObject({ kind: "chat P0", error: { code: expect.any(String) } });
    expect(failures.map(({ status }) => status)).not.toContain("finished");
  });

  test("ends with 1 and what to do where no machine takes anything", async () => {
    await mesh.run("node", "cordon", "here", "--reason", "for a test");
    const { code, err } = await mesh.run("demo", "--seconds", "1");
    await mesh.run("node", "resume", "here");
    expect([code, err]).toEqual([1, expect.stringMatching(/no machine takes any .*removed by: .*state 1/)]);
  });
});
