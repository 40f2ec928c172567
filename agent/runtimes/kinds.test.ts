import type { ServerResponse } from "node:http";
import { afterEach, expect, test } from "vitest";
import { PosedRuntimes, modelsOf, never, watching } from "../../test/kit/posed-runtimes.ts";

/** What each kind tells of its models and of itself, from its documented answers. */

const posed = new PosedRuntimes();
afterEach(() => posed.closeAll());

test("Ollama's cloud models are not local models, by either field or by name", async () => {
  const models = await modelsOf(await posed.pose("ollama"));
  expect(models.map((model) => model.name)).toEqual(["llama3.2:latest"]);
  expect(models[0]).toMatchObject({
    loaded: true,
    context_length: 4096,
    vram_gb: 3,
    digest: "sha256:a80c4f17acd55265feec403c7aef86be0c25983ab279d83f3bcd3abbcb5b8b72",
    capabilities: expect.arrayContaining(["text", "chat", "tools"]),
  });
});

test("a digest that is none is not passed on", async () => {
  for (const digest of ["c1", "a80c", 7, "A".repeat(64), undefined]) {
    const tags = { models: [{ name: "m:latest", model: "m:latest", size: 1, digest }] };
    const [model] = await modelsOf(await posed.pose("ollama", { "GET /api/tags": tags }));
    expect(model).toMatchObject({ name: "m:latest", digest: null });
  }
});

test("a model that only /api/show calls remote is left out too", async () => {
  const server = await posed.pose("ollama", {
    "POST /api/show": { remote_host: "https://ollama.com", remote_model: "x", capabilities: ["completion"] },
  });
  expect(await modelsOf(server)).toEqual([]);
});

test("an Ollama whose list fails is not taken for a plain OpenAI server, which would hide what is remote", async () => {
  const server = await posed.pose("ollama", {
    "GET /api/tags": (_request: unknown, response: ServerResponse) => void response.writeHead(500).end(),
  });
  const { runtimes, problems } = await watching({ endpoints: [server.url] }).inspect(never);
  expect(runtimes.size).toBe(0);
  expect(problems).toHaveLength(1);
});

test("Ollama is asked about a digest once", async () => {
  const server = await posed.pose("ollama");
  const runtimes = watching({ endpoints: [server.url] });
  for (let round = 0; round < 3; round += 1) await runtimes.inspect(never);
  expect(server.seen.filter((key) => key === "POST /api/show")).toHaveLength(1);
});

test("a model that Ollama has not loaded has its own window and is not loaded", async () => {
  const [model] = await modelsOf(await posed.pose("ollama", { "GET /api/ps": { models: [] } }));
  expect(model).toMatchObject({ loaded: false, context_length: 131072, vram_gb: null });
});

test("LM Studio tells what is loaded, the window in use, and what cannot chat", async () => {
  expect(await modelsOf(await posed.pose("lm-studio"))).toMatchObject([
    {
      name: "qwen2-vl-7b-instruct",
      loaded: false,
      context_length: 32768,
      size_gb: 4,
      capabilities: expect.arrayContaining(["chat", "vision"]),
    },
    {
      name: "meta-llama-3.1-8b-instruct",
      loaded: true,
      context_length: 8192,
      capabilities: expect.arrayContaining(["chat", "tools"]),
    },
    { name: "text-embedding-nomic-embed-text-v1.5", capabilities: ["embedding"] },
  ]);
});

test("an LM Studio before 0.4 is known by its older list alone", async () => {
  const server = await posed.pose("lm-studio", { "GET /api/v1/models": { error: "Unexpected endpoint or method." } });
  expect((await modelsOf(server)).map((model) => [model.name, model.size_gb])).toEqual([
    ["qwen2-vl-7b-instruct", null],
    ["meta-llama-3.1-8b-instruct", null],
    ["text-embedding-nomic-embed-text-v1.5", null],
  ]);
});

test("a vLLM adapter has its base's window and capabilities", async () => {
  expect(await modelsOf(await posed.pose("vllm"))).toMatchObject([
    { context_length: 32768, capabilities: expect.arrayContaining(["code"]) },
    { name: "sql-lora", context_length: 32768, capabilities: expect.arrayContaining(["code"]) },
  ]);
});

test("Xinference tells each model's type, and its replicas are its slots", async () => {
  const { runtimes } = await watching({ endpoints: [(await posed.pose("xinference")).url] }).inspect(never);
  const { state } = [...runtimes.values()][0]!;
  expect(state.record).toMatchObject({ version: "1.9.0", slots: 4 });
  expect(state.models).toMatchObject([
    {
      name: "qwen2.5-instruct",
      loaded: true,
      context_length: 32768,
      capabilities: expect.arrayContaining(["chat", "tools"]),
    },
    { name: "my-bge", context_length: 8192, capabilities: ["embedding"] },
    { name: "my-reranker", capabilities: ["rerank"] },
  ]);
});

/** The models of a Xinference whose first one is changed like this. */
async function xinferenceModels(change: object, info?: unknown): Promise<string[]> {
  const server = await posed.pose("xinference");
  const list = structuredClone(server.routes.get("GET /v1/models")) as { data: object[] };
  Object.assign(list.data[0]!, change);
  server.routes.set("GET /v1/models", list);
  if (info !== undefined) server.routes.set("GET /v1/cluster/info", info);
  return (await modelsOf(server)).map(({ name }) => name);
}

test("what a Xinference worker on another machine runs is not local, nor a replica that may be there", async () => {
  const rest = ["my-bge", "my-reranker"];
  const two = [
    { node_type: "Worker", ip_address: "127.0.0.1" },
    { node_type: "Worker", ip_address: "192.0.2.7" },
  ];
  expect(await xinferenceModels({ address: "192.0.2.7:43871" })).toEqual(rest);
  expect(await xinferenceModels({ address: undefined })).toEqual(rest);
  expect(await xinferenceModels({}, two)).toEqual(rest);
  expect(await xinferenceModels({ replica: 1 }, two)).toEqual(["qwen2.5-instruct", ...rest]);
  const closed = (_request: unknown, response: ServerResponse) => void response.writeHead(401).end();
  expect(await xinferenceModels({}, closed)).toEqual(rest);
});

test("a Xinference that has launched nothing is there, with no models", async () => {
  const server = await posed.pose("xinference", { "GET /v1/models": { object: "list", data: [] } });
  const { runtimes } = await watching({ ports: [server.port] }).inspect(never);
  expect([...runtimes.values()].map(({ state }) => [state.record.kind, state.models])).toEqual([["xinference", []]]);
});

test("an MLX server offers the models of its cache that can chat, without claims on sight", async () => {
  expect(await modelsOf(await posed.pose("mlx-server"))).toMatchObject([
    { name: "mlx-community/Qwen3-4B-4bit", loaded: null, context_length: null },
    { name: "/Users/ada/models/Qwen2.5-VL-7B", capabilities: expect.not.arrayContaining(["vision"]) },
  ]);
});

test.each<[string, Record<string, unknown>, Record<string, string>]>([
  ["another Server header", {}, { server: "uvicorn" }],
  ["a health of its own", { "GET /health": { status: "ok", model: "x" } }, {}],
  [
    "an owner of its models",
    { "GET /v1/models": { data: [{ id: "a/b", object: "model", created: 1, owned_by: "x" }] } },
    {},
  ],
  ["names that are no paths", { "GET /v1/models": { data: [{ id: "gpt-4o", object: "model", created: 1 }] } }, {}],
])("a server with %s is no MLX server, and only a hint on a well-known port", async (_name, changes, headers) => {
  const server = await posed.pose("mlx-server", changes);
  Object.assign(server.headers, headers);
  const { runtimes, problems } = await watching({ ports: [server.port] }).inspect(never);
  expect(runtimes.size).toBe(0);
  expect(problems).toHaveLength(1);
});

test("a llama-server that is loading its model is there, and not healthy", async () => {
  const server = await posed.serve(
    {
      "*": (_request: unknown, response: ServerResponse) =>
        void response.writeHead(503).end('{"error":{"message":"Loading model"}}'),
    },
    { server: "llama.cpp" },
  );
  const { runtimes } = await watching({ endpoints: [server.url] }).inspect(never);
  expect([...runtimes.values()].map(({ state }) => state.record)).toMatchObject([
    { kind: "llama-server", healthy: false },
  ]);
});

test("llama-server as a router tells which of its models are loaded", async () => {
  const server = await posed.pose("llama-server", {
    "GET /props": { role: "router", default_generation_settings: { params: {}, n_ctx: 0 }, build_info: "b7000" },
    "GET /v1/models": {
      object: "list",
      data: [
        { id: "a", owned_by: "llamacpp", status: { value: "loaded" } },
        { id: "b", owned_by: "llamacpp", status: { value: "unloaded" } },
      ],
    },
  });
  expect(await modelsOf(server)).toMatchObject([
    { name: "a", loaded: true, context_length: null },
    { name: "b", loaded: false },
  ]);
});

const gauge = (name: string, value: string) => (_request: unknown, response: ServerResponse) =>
  void response.end(`${name} ${value}\n`);

test.each<[string, Record<string, unknown>, object]>([
  ["vllm", {}, { slots: 16, running: 5, queued: 4 }],
  ["vllm", { "GET /metrics": { error: "off" } }, { running: null, queued: null }],
  ["vllm", { "GET /metrics": gauge("vllm:num_requests_running", "NaN") }, { running: null, queued: null }],
  ["vllm", { "GET /metrics": gauge("vllm:num_requests_running", "x".repeat(2 ** 21)) }, { running: null }],
  ["vllm", { "GET /metrics": () => undefined }, { healthy: true, running: null, queued: null }],
  ["sglang", {}, { version: "0.5.2", slots: 24, running: 1, queued: 0 }],
  ["sglang", { "GET /get_server_info": { max_running_requests: null } }, { version: null, slots: 16 }],
  ["llama-server", {}, { slots: 2, running: 1, queued: null }],
  ["llama-server", { "GET /metrics": gauge("llamacpp:requests_deferred", "7") }, { running: 1, queued: null }],
  [
    "llama-server",
    {
      "GET /metrics": (_request: unknown, response: ServerResponse) =>
        void response.end("llamacpp:requests_processing 2\nllamacpp:requests_deferred 46\n"),
    },
    { running: 2, queued: 46 },
  ],
  ["llama-server", { "GET /slots": { error: { code: 501 } } }, { running: null, queued: null }],
  ["ollama", {}, { running: null, queued: null }],
])("%s with %j tells what it is at: %j", async (kind, changes, expected) => {
  const server = await posed.pose(kind, changes);
  const { runtimes } = await watching({ endpoints: [server.url] }).inspect(never);
  expect([...runtimes.values()].map(({ state }) => state.record)).toMatchObject([expected]);
});
