import type { ServerResponse } from "node:http";
import { afterEach, expect, test } from "vitest";
import { PosedRuntimes, modelsOf, never, watching } from "../../test/kit/posed-runtimes.ts";
import type { NamedEndpoint } from "./discover.ts";
import { CHAT, deltaEvent, event } from "../../test/kit/runtime-servers.ts";
import { SURFACES } from "../../test/kit/runtime-surfaces.ts";
import { runtimeJob } from "../../test/kit/runtime-job.ts";

const posed = new PosedRuntimes();
afterEach(() => posed.closeAll());

test("an unknown OpenAI server on a well-known port is a hint, not a runtime: it may be a proxy to a cloud", async () => {
  const server = await posed.pose("openai-compatible");
  const found = await watching({ ports: [server.port] }).inspect(never);
  expect(found.runtimes.size).toBe(0);
  expect(found.problems).toEqual([{ endpoint: server.url, problem: expect.stringContaining("TIERMESH_RUNTIMES") }]);
});

test("what is no model server at all on a well-known port is no problem", async () => {
  const server = await posed.serve({});
  expect(await watching({ ports: [server.port] }).inspect(never)).toEqual({ runtimes: new Map(), problems: [] });
});

test("a server that wants a key says so, and with the token of its entry it is used", async () => {
  const guarded = (request: { headers: Record<string, string> }, response: ServerResponse) => {
    if (request.headers["authorization"] === "Bearer k") response.end('{"data":[{"id":"m"}]}');
    else response.writeHead(401).end();
  };
  const server = await posed.serve({ "GET /v1/models": guarded });
  const without = await watching({ endpoints: [server.url] }).inspect(never);
  expect(without.problems).toMatchObject([{ problem: expect.stringContaining("key") }]);
  const runtimes = await watching({ endpoints: [{ url: server.url, token: "k", slots: 7 }] }).inspect(never);
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
  expect(() => watching({ endpoints: ["http://localhost:9000/v1", endpoint] })).toThrow(
    expect.objectContaining({ code: "bad_config", field: "endpoints[1]" }),
  );
});

test("a named endpoint where nothing listens is a problem, a well-known port is not", async () => {
  const server = await posed.serve({});
  await server.close();
  expect((await watching({ endpoints: [server.url] }).inspect(never)).problems).toMatchObject([
    { problem: "nothing listens there" },
  ]);
  expect((await watching({ ports: [server.port] }).inspect(never)).problems).toEqual([]);
});

test("another runtime on the same port takes the place of the first at once", async () => {
  const server = await posed.pose("vllm");
  const runtimes = watching({ endpoints: [server.url] });
  expect([...(await runtimes.inspect(never)).runtimes.keys()]).toEqual([`vllm-${server.port}`]);
  server.routes = new Map(Object.entries(SURFACES.find((surface) => surface.kind === "ollama")!.routes));
  expect([...(await runtimes.inspect(never)).runtimes.keys()]).toEqual([`ollama-${server.port}`]);
});

test("models with names that the bus cannot carry are left out, the others stay", async () => {
  const server = await posed.pose("openai-compatible", {
    "GET /v1/models": { data: [{ id: "x".repeat(201) }, { id: "" }, { id: 7 }, null, { id: "fine" }] },
  });
  expect((await modelsOf(server)).map((model) => model.name)).toEqual(["fine"]);
});

test("a runtime too busy for inspections stays healthy while it answers a job", async () => {
  const server = await posed.pose("vllm");
  const runtimes = watching({ endpoints: [server.url], now: () => 0 });
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
  const server = await posed.pose("llama-server", {
    [CHAT]: (_request: unknown, response: ServerResponse) =>
      void response.writeHead(200, { "content-type": "text/event-stream" }).end(pieces.join("")),
  });
  const runtimes = watching({ endpoints: [server.url], now: () => nowMs });
  const { runtime } = [...(await runtimes.inspect(never)).runtimes.values()][0]!;
  for await (const chunk of runtime.run(runtimeJob({ model: "gemma3-270m" }), never))
    if (chunk.type === "delta") nowMs += 50;
  const found = await runtimes.inspect(never);
  expect(found.runtimes.get(runtime.name)?.state.models).toMatchObject([{ ms_per_token: 50 }]);
});

test("the diagnostic runtime is there only when asked for", async () => {
  expect((await watching({ loopback: () => false }).inspect(never)).runtimes.size).toBe(0);
  const { runtimes } = await watching({ loopback: () => true }).inspect(never);
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
    await posed.serve({ "GET /v1/models": guarded }),
    await posed.serve({ "GET /v1/models": guarded }),
  ];
  let baseUrl: string | undefined = first.url;
  const embedded = () =>
    baseUrl === undefined ? undefined : { baseUrl, token: "t0ken", model, contextLength: 2048, parallelSlots: 3 };
  const runtimes = watching({ embedded });
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
