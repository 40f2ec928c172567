import type { IncomingMessage, ServerResponse } from "node:http";
import { afterAll, describe, expect, test } from "vitest";
import type { DeltaFrame } from "../../bus-schemas/index.ts";
import { createRuntimes, type FoundRuntimes } from "./discover.ts";
import { KINDS } from "./index.ts";
import type { Runtime, RuntimeChunk, RuntimeJob } from "./runtime.ts";
import {
  CHAT,
  deltaEvent,
  event,
  HELLO,
  startServer,
  stream,
  type TestServer,
} from "../../test/kit/runtime-servers.ts";
import { SURFACES } from "../../test/kit/runtime-surfaces.ts";
import { runtimeJob } from "../../test/kit/runtime-job.ts";

/** One suite over all kinds: each is a real HTTP server with that runtime's documented answers. */

const servers: TestServer[] = [];
afterAll(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

const never = new AbortController().signal;
const secret = "the-secret-prompt";
/** Of the strictest class: what runs in the house asks nothing about it. */
const job = (model: string): RuntimeJob =>
  runtimeJob({
    model,
    messages: [{ role: "user", content: secret }],
    parameters: { max_tokens: 9, stream: false },
    declared: { subject: "P0", header: "P0", body: "P0" },
  });

interface Subject {
  kind: string;
  key: string;
  model: string;
  start(): Promise<{ server: TestServer; inspect: (signal?: AbortSignal) => Promise<FoundRuntimes> }>;
}

const subjects: Subject[] = SURFACES.map((surface) => ({
  ...surface,
  async start() {
    const server = await startServer({ ...surface.routes, [CHAT]: HELLO }, { ...surface.headers });
    servers.push(server);
    const runtimes = createRuntimes({ endpoints: [server.url], ports: [], loopback: () => false, now: () => 0 });
    return { server, inspect: (signal = never) => runtimes.inspect(signal) };
  },
}));
subjects.push({
  kind: "embedded",
  key: "GET /v1/models",
  model: "gemma-3-270m",
  async start() {
    const server = await startServer({
      "GET /v1/models": {
        object: "list",
        data: [{ id: "gemma-3-270m", object: "model", owned_by: "tiermesh-embedded" }],
      },
      [CHAT]: HELLO,
    });
    servers.push(server);
    const embedded = {
      baseUrl: server.url,
      token: "t0ken",
      model: "gemma-3-270m",
      contextLength: 2048,
      parallelSlots: 3,
      digest: `sha256:${"b1".repeat(32)}`,
    };
    const runtimes = createRuntimes({ ports: [], loopback: () => false, embedded: () => embedded, now: () => 0 });
    return { server, inspect: (signal = never) => runtimes.inspect(signal) };
  },
});

test("the suite covers every kind in the list", () => {
  expect(new Set(SURFACES.map((surface) => surface.kind))).toEqual(new Set(KINDS.map((kind) => kind.kind)));
});

async function only(found: FoundRuntimes): Promise<Runtime> {
  expect(found.problems).toEqual([]);
  expect(found.runtimes.size).toBe(1);
  return [...found.runtimes.values()][0]!.runtime;
}

async function collect(chunks: AsyncIterable<RuntimeChunk>): Promise<RuntimeChunk[]> {
  const all: RuntimeChunk[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return all;
}

const text = (chunks: RuntimeChunk[]): string => chunks.map((chunk) => (chunk as DeltaFrame).content ?? "").join("");

describe.concurrent.each(subjects)("$kind", (subject) => {
  test("is known by its fingerprint and tells its models", async () => {
    const { server, inspect } = await subject.start();
    const found = await inspect();
    const runtime = await only(found);
    expect(runtime.kind).toBe(subject.kind);
    const { state } = found.runtimes.get(runtime.name)!;
    expect(state.record).toMatchObject({ name: runtime.name, kind: subject.kind, healthy: true, diagnostic: false });
    expect(state.models.map((model) => model.name)).toContain(subject.model);
    for (const model of state.models) expect(model.runtime).toBe(runtime.name);
    expect(server.seen).not.toContain(CHAT);
  });

  test("streams an answer with its usage, and asks for a stream whatever the parameters say", async () => {
    const { server, inspect } = await subject.start();
    const runtime = await only(await inspect());
    const chunks = await collect(runtime.run(job(subject.model), never));
    expect(text(chunks)).toBe("Hello world");
    expect(chunks.at(-1)).toEqual({
      type: "done",
      finishReason: "stop",
      usage: { prompt_tokens: 21, completion_tokens: 2, estimated: false },
    });
    expect(server.bodies.at(-1)).toMatchObject({
      model: subject.model,
      stream: true,
      stream_options: { include_usage: true },
      max_tokens: 9,
    });
  });

  test("closes the connection and ends silently when the job is cancelled", async () => {
    const { server, inspect } = await subject.start();
    const runtime = await only(await inspect());
    const closed = new Promise<void>((resolve) => {
      server.routes.set(CHAT, (_request: unknown, response: ServerResponse) => {
        response.on("close", resolve);
        response.writeHead(200, { "content-type": "text/event-stream" });
        response.write(deltaEvent({ content: "Hel" }));
      });
    });
    const abort = new AbortController();
    const chunks: RuntimeChunk[] = [];
    for await (const chunk of runtime.run(job(subject.model), abort.signal)) {
      chunks.push(chunk);
      abort.abort();
    }
    expect(chunks).toEqual([{ type: "delta", content: "Hel" }]);
    await closed;
  });

  test("turns an error of the runtime into runtime_failed without quoting it", async () => {
    const { server, inspect } = await subject.start();
    const runtime = await only(await inspect());
    server.routes.set(CHAT, stream(deltaEvent({ content: "a" }), event({ error: { message: secret, code: 500 } })));
    const error = await collect(runtime.run(job(subject.model), never)).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "runtime_failed" });
    expect(String(error)).not.toContain(secret);
  });

  test("is not taken for a runtime when it answers garbage", async () => {
    const { server, inspect } = await subject.start();
    server.routes.clear();
    server.routes.set("*", (_request: unknown, response: ServerResponse) => void response.end("\u0000<html>{{{"));
    const found = await inspect();
    expect(found.runtimes.size).toBe(0);
    expect(found.problems).toHaveLength(1);
    expect(found.problems[0]?.problem).not.toContain("html");
  });

  test("does not follow a redirect", async () => {
    const { server, inspect } = await subject.start();
    const elsewhere = await startServer(SURFACES.find((surface) => surface.kind === "openai-compatible")!.routes);
    servers.push(elsewhere);
    server.routes.set("*", (request: IncomingMessage, response: ServerResponse) => {
      response.writeHead(307, { location: `${elsewhere.url}${request.url}` }).end();
    });
    for (const key of server.routes.keys()) if (key !== "*") server.routes.delete(key);
    const found = await inspect();
    expect(found.runtimes.size).toBe(0);
    expect(elsewhere.seen).toEqual([]);
  });

  test("gives up on a body above 1 MiB", async () => {
    const { server, inspect } = await subject.start();
    server.routes.set(subject.key, { data: "x".repeat(1024 * 1024) });
    const found = await inspect();
    expect(found.problems).toEqual([{ endpoint: server.url, problem: expect.stringContaining("more than 1 MiB") }]);
    expect(found.runtimes.size).toBe(0);
  });

  test("a server that never answers costs 500 ms, is unhealthy once, and gone after three inspections", async () => {
    const { server, inspect } = await subject.start();
    const runtime = await only(await inspect());
    server.routes.clear();
    server.routes.set("*", () => undefined);
    for (const miss of [1, 2]) {
      const found = await inspect();
      expect(found.runtimes.get(runtime.name)?.runtime, `miss ${miss}`).toBe(runtime);
      expect(found.runtimes.get(runtime.name)?.state.record.healthy).toBe(false);
      expect(found.problems).toEqual([{ endpoint: server.url, problem: expect.stringContaining("did not answer") }]);
    }
    expect((await inspect()).runtimes.size).toBe(0);
  });

  test("comes back healthy after one missed inspection, as the same runtime", async () => {
    const { server, inspect } = await subject.start();
    const runtime = await only(await inspect());
    const routes = new Map(server.routes);
    server.routes.clear();
    server.routes.set("*", () => undefined);
    await inspect();
    server.routes.clear();
    for (const [key, route] of routes) server.routes.set(key, route);
    const found = await inspect();
    expect(found.runtimes.get(runtime.name)?.runtime).toBe(runtime);
    expect(found.runtimes.get(runtime.name)?.state.record.healthy).toBe(true);
  });

  test("an inspection that is aborted answers what was known and counts as no miss", async () => {
    const { server, inspect } = await subject.start();
    const runtime = await only(await inspect());
    const abort = new AbortController();
    server.routes.clear();
    server.routes.set("*", () => abort.abort());
    const found = await inspect(abort.signal);
    expect(found.problems).toEqual([]);
    expect(found.runtimes.get(runtime.name)?.state.record.healthy).toBe(true);
  });

  test("the mesh's own gateway is never taken for it, by header or by owner", async () => {
    const { server, inspect } = await subject.start();
    server.headers["server"] = "tiermesh";
    expect((await inspect()).runtimes.size).toBe(0);
    delete server.headers["server"];
    server.routes.clear();
    server.routes.set("GET /v1/models", {
      object: "list",
      data: [{ id: subject.model, object: "model", owned_by: "tiermesh" }],
    });
    expect((await inspect()).runtimes.size).toBe(0);
  });
});
