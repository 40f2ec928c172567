import type { ServerResponse } from "node:http";
import { afterEach, expect, test } from "vitest";
import type { ServedModel } from "../../bus-schemas/index.ts";
import { createRuntimes, type NamedEndpoint, type RuntimesOptions } from "./discover.ts";
import { CHAT, deltaEvent, event, HELLO, startServer, type TestServer } from "../../test/kit/runtime-servers.ts";
import { SURFACES } from "../../test/kit/runtime-surfaces.ts";
import { runtimeJob } from "../../test/kit/runtime-job.ts";

const servers: TestServer[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

const never = new AbortController().signal;

async function pose(kind: string, changes: Record<string, unknown> = {}): Promise<TestServer> {
  const surface = SURFACES.find((candidate) => candidate.kind === kind)!;
  const server = await startServer({ ...surface.routes, [CHAT]: HELLO, ...changes }, { ...surface.headers });
  servers.push(server);
  return server;
}

const create = (options: Partial<RuntimesOptions>) =>
  createRuntimes({ ports: [], loopback: () => false, now: () => performance.now(), ...options });

async function modelsOf(server: TestServer): Promise<ServedModel[]> {
  const { runtimes } = await create({ endpoints: [server.url] }).inspect(never);
  return [...runtimes.values()].flatMap(({ state }) => state.models);
}

test("Ollama's cloud models are not local models, by either field or by name", async () => {
  const models = await modelsOf(await pose("ollama"));
  expect(models.map((model) => model.name)).toEqual(["llama3.2:latest"]);
  expect(models[0]).toMatchObject({
    loaded: true,
    context_length: 4096,
    capabilities: expect.arrayContaining(["text", "chat", "tools"]),
  });
});

test("a model that only /api/show calls remote is left out too", async () => {
  const server = await pose("ollama", {
    "POST /api/show": { remote_host: "https://ollama.com", remote_model: "x", capabilities: ["completion"] },
  });
  expect(await modelsOf(server)).toEqual([]);
});

test("an Ollama whose list fails is not taken for a plain OpenAI server, which would hide what is remote", async () => {
  const server = await pose("ollama", {
    "GET /api/tags": (_request: unknown, response: ServerResponse) => void response.writeHead(500).end(),
  });
  const { runtimes, problems } = await create({ endpoints: [server.url] }).inspect(never);
  expect(runtimes.size).toBe(0);
  expect(problems).toHaveLength(1);
});

test("Ollama is asked about a digest once", async () => {
  const server = await pose("ollama");
  const runtimes = create({ endpoints: [server.url] });
  for (let round = 0; round < 3; round += 1) await runtimes.inspect(never);
  expect(server.seen.filter((key) => key === "POST /api/show")).toHaveLength(1);
});

test("a model that Ollama has not loaded has its own window and is not loaded", async () => {
  const [model] = await modelsOf(await pose("ollama", { "GET /api/ps": { models: [] } }));
  expect(model).toMatchObject({ loaded: false, context_length: 131072 });
});

test("LM Studio tells what is loaded, the window in use, and what cannot chat", async () => {
  expect(await modelsOf(await pose("lm-studio"))).toMatchObject([
    {
      name: "qwen2-vl-7b-instruct",
      loaded: false,
      context_length: 32768,
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

test("a vLLM adapter has its base's window and capabilities", async () => {
  expect(await modelsOf(await pose("vllm"))).toMatchObject([
    { context_length: 32768, capabilities: expect.arrayContaining(["code"]) },
    { name: "sql-lora", context_length: 32768, capabilities: expect.arrayContaining(["code"]) },
  ]);
});

test("a llama-server that is loading its model is there, and not healthy", async () => {
  const server = await startServer(
    {
      "*": (_request: unknown, response: ServerResponse) =>
        void response.writeHead(503).end('{"error":{"message":"Loading model"}}'),
    },
    { server: "llama.cpp" },
  );
  servers.push(server);
  const { runtimes } = await create({ endpoints: [server.url] }).inspect(never);
  expect([...runtimes.values()].map(({ state }) => state.record)).toMatchObject([
    { kind: "llama-server", healthy: false },
  ]);
});

test("llama-server as a router tells which of its models are loaded", async () => {
  const server = await pose("llama-server", {
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

test("an unknown OpenAI server on a well-known port is a hint, not a runtime: it may be a proxy to a cloud", async () => {
  const server = await pose("openai-compatible");
  const found = await create({ ports: [server.port] }).inspect(never);
  expect(found.runtimes.size).toBe(0);
  expect(found.problems).toEqual([{ endpoint: server.url, problem: expect.stringContaining("TIERMESH_RUNTIMES") }]);
});

test("what is no model server at all on a well-known port is no problem", async () => {
  const server = await startServer({});
  servers.push(server);
  expect(await create({ ports: [server.port] }).inspect(never)).toEqual({ runtimes: new Map(), problems: [] });
});

test("a server that wants a key says so, and with the token of its entry it is used", async () => {
  const guarded = (request: { headers: Record<string, string> }, response: ServerResponse) => {
    if (request.headers["authorization"] === "Bearer k") response.end('{"data":[{"id":"m"}]}');
    else response.writeHead(401).end();
  };
  const server = await startServer({ "GET /v1/models": guarded });
  servers.push(server);
  const without = await create({ endpoints: [server.url] }).inspect(never);
  expect(without.problems).toMatchObject([{ problem: expect.stringContaining("key") }]);
  const runtimes = await create({ endpoints: [{ url: server.url, token: "k", slots: 7 }] }).inspect(never);
  expect([...runtimes.runtimes.values()].map(({ state }) => state.record)).toMatchObject([
    { name: `openai-compatible-${server.port}`, slots: 7 },
  ]);
});

test.each<[string, string | NamedEndpoint]>([
  ["another machine", "http://10.0.0.7:8000"],
  ["a name that may resolve anywhere", "http://gpu-box:8000"],
  ["a name that looks like this machine", "http://127.0.0.1.example.com:8000"],
  ["https", "https://127.0.0.1:8000"],
  ["a path", "http://127.0.0.1:8000/proxy"],
  ["a password", "http://u:p@127.0.0.1:8000"],
  ["no URL", { url: "127.0.0.1" }],
])("an endpoint with %s is refused by name before anything is sent", (_name, endpoint) => {
  expect(() => create({ endpoints: ["http://localhost:9000/v1", endpoint] })).toThrow(
    expect.objectContaining({ code: "bad_config", field: "endpoints[1]" }),
  );
});

test("a named endpoint where nothing listens is a problem, a well-known port is not", async () => {
  const server = await startServer({});
  await server.close();
  expect((await create({ endpoints: [server.url] }).inspect(never)).problems).toMatchObject([
    { problem: "nothing listens there" },
  ]);
  expect((await create({ ports: [server.port] }).inspect(never)).problems).toEqual([]);
});

test("another runtime on the same port takes the place of the first at once", async () => {
  const server = await pose("vllm");
  const runtimes = create({ endpoints: [server.url] });
  expect([...(await runtimes.inspect(never)).runtimes.keys()]).toEqual([`vllm-${server.port}`]);
  server.routes = new Map(Object.entries(SURFACES.find((surface) => surface.kind === "ollama")!.routes));
  expect([...(await runtimes.inspect(never)).runtimes.keys()]).toEqual([`ollama-${server.port}`]);
});

test("models with names that the bus cannot carry are left out, the others stay", async () => {
  const server = await pose("openai-compatible", {
    "GET /v1/models": { data: [{ id: "x".repeat(201) }, { id: "" }, { id: 7 }, null, { id: "fine" }] },
  });
  expect((await modelsOf(server)).map((model) => model.name)).toEqual(["fine"]);
});

test("a runtime too busy for inspections stays healthy while it answers a job", async () => {
  const server = await pose("vllm");
  const runtimes = create({ endpoints: [server.url], now: () => 0 });
  const { runtime } = [...(await runtimes.inspect(never)).runtimes.values()][0]!;
  server.routes.set(
    CHAT,
    (_request: unknown, response: ServerResponse) =>
      void response.writeHead(200, { "content-type": "text/event-stream" }).write(deltaEvent({ content: "a" })),
  );
  for (const key of server.routes.keys()) if (key !== CHAT) server.routes.delete(key);
  server.routes.set("*", () => undefined);
  for await (const _chunk of runtime.run(runtimeJob(), never)) break;
  expect((await runtimes.inspect(never)).runtimes.get(runtime.name)?.state.record.healthy).toBe(true);
});

test("rates are learned from real answers and told with the model", async () => {
  let nowMs = 0;
  const pieces = [
    deltaEvent({ content: "a" }),
    ...Array.from({ length: 9 }, () => deltaEvent({ content: "b" })),
    event({
      choices: [],
      usage: { prompt_tokens: 300, completion_tokens: 10, prompt_tokens_details: { cached_tokens: 100 } },
    }),
    event("[DONE]"),
  ];
  const server = await pose("llama-server", {
    [CHAT]: (_request: unknown, response: ServerResponse) =>
      void response.writeHead(200, { "content-type": "text/event-stream" }).end(pieces.join("")),
  });
  const runtimes = create({ endpoints: [server.url], now: () => nowMs });
  const { runtime } = [...(await runtimes.inspect(never)).runtimes.values()][0]!;
  for await (const chunk of runtime.run(runtimeJob({ model: "gemma3-270m" }), never))
    if (chunk.type === "delta") nowMs += 50;
  const found = await runtimes.inspect(never);
  expect(found.runtimes.get(runtime.name)?.state.models).toMatchObject([{ ms_per_token: 50 }]);
});

test("the diagnostic runtime is there only when asked for", async () => {
  expect((await create({ loopback: () => false }).inspect(never)).runtimes.size).toBe(0);
  const { runtimes } = await create({ loopback: () => true }).inspect(never);
  expect(runtimes.get("loopback")?.state).toMatchObject({
    record: { diagnostic: true, slots: 4 },
    models: [{ name: "loopback" }],
  });
});

test("the embedded runtime is asked with its token, and keeps its name when it comes back on another port", async () => {
  const model = "gemma-3-270m";
  const guarded = (request: { headers: Record<string, string> }, response: ServerResponse) => {
    if (request.headers["authorization"] !== "Bearer t0ken") return void response.writeHead(401).end();
    response.end(JSON.stringify({ data: [{ id: model, owned_by: "tiermesh-embedded" }] }));
  };
  const [first, second] = [
    await startServer({ "GET /v1/models": guarded }),
    await startServer({ "GET /v1/models": guarded }),
  ];
  servers.push(first, second);
  let baseUrl: string | undefined = first.url;
  const embedded = () =>
    baseUrl === undefined ? undefined : { baseUrl, token: "t0ken", model, contextLength: 2048, parallelSlots: 3 };
  const runtimes = create({ embedded });
  for (const [url, names] of [
    [first.url, ["embedded"]],
    [undefined, []],
    [second.url, ["embedded"]],
  ] as const) {
    baseUrl = url;
    const found = await runtimes.inspect(never);
    expect([...found.runtimes.keys()]).toEqual(names);
    expect(found.problems).toEqual([]);
  }
  expect((await runtimes.inspect(never)).runtimes.get("embedded")?.state.record.slots).toBe(3);
});
