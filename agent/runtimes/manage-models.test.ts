import type { ServerResponse } from "node:http";
import { afterEach, describe, expect, test } from "vitest";
import type { ModelAction, ModelProgress } from "../../bus-schemas/index.ts";
import { PosedRuntimes, never, watching } from "../../test/kit/posed-runtimes.ts";
import type { TestServer } from "../../test/kit/runtime-servers.ts";

/** Loading, unloading and downloading against the documented answers of the kinds that do it. */

const posed = new PosedRuntimes();
afterEach(() => posed.closeAll());

/** Has the runtime behind `server` do it. @returns what it told on the way */
async function order(
  server: TestServer,
  action: ModelAction,
  model: string,
  signal: AbortSignal = never,
): Promise<ModelProgress[]> {
  const { runtimes } = await watching({ endpoints: [server.url] }).inspect(never);
  const { runtime } = [...runtimes.values()][0]!;
  server.seen.length = 0;
  server.bodies.length = 0;
  const told: ModelProgress[] = [];
  for await (const progress of runtime.manage!({ action, model }, signal)) told.push(progress);
  return told;
}

const failing = (server: TestServer, action: ModelAction, model: string): Promise<unknown> =>
  order(server, action, model).then(
    () => "no failure",
    (error: unknown) => error,
  );

const phases = (told: ModelProgress[]) => told.map(({ phase }) => phase);
const status = (code: number, body: unknown) => (_request: unknown, response: ServerResponse) =>
  void response.writeHead(code).end(JSON.stringify(body));
/** Lines of JSON, as Ollama streams them. */
const lines =
  (...all: unknown[]) =>
  (_request: unknown, response: ServerResponse) => {
    response.writeHead(200, { "content-type": "application/x-ndjson" });
    response.end(all.map((line) => `${typeof line === "string" ? line : JSON.stringify(line)}\n`).join(""));
  };

describe("ollama", () => {
  const GENERATE = "POST /api/generate";
  const done = (reason: string) => ({ model: "llama3.2:latest", response: "", done: true, done_reason: reason });

  test("loads by an empty request that keeps the model, and generates nothing", async () => {
    const server = await posed.pose("ollama", { [GENERATE]: done("load") });
    expect(phases(await order(server, "load", "llama3.2:latest"))).toEqual(["loading"]);
    expect(server.seen).toEqual([GENERATE]);
    expect(server.bodies).toEqual([{ model: "llama3.2:latest", keep_alive: -1, stream: false }]);
  });

  test("loads a model that only embeds by an empty request to embed", async () => {
    const server = await posed.pose("ollama", {
      [GENERATE]: status(400, { error: '"bge-m3" does not support generate' }),
      "POST /api/embed": { model: "bge-m3", embeddings: [] },
    });
    await order(server, "load", "bge-m3");
    expect(server.bodies.at(-1)).toEqual({ model: "bge-m3", input: "", keep_alive: -1 });
  });

  test("unloads by keeping for no time", async () => {
    const server = await posed.pose("ollama", { [GENERATE]: done("unload") });
    expect(phases(await order(server, "unload", "llama3.2:latest"))).toEqual(["unloading"]);
    expect(server.bodies).toEqual([{ model: "llama3.2:latest", keep_alive: 0, stream: false }]);
  });

  test("says in Ollama's words why a model cannot be loaded", async () => {
    const said = "model requires more system memory (8.4 GiB) than is available (3.1 GiB)\u001b[2J";
    const server = await posed.pose("ollama", { [GENERATE]: status(500, { error: said }) });
    const error = await failing(server, "load", "llama3.2:latest");
    expect(error).toMatchObject({ code: "runtime_failed", message: expect.stringContaining("8.4 GiB") });
    expect((error as Error).message).not.toContain("\u001b");
  });

  test("tells how far a download is", async () => {
    const digest = "sha256:dde5aa3fc5ff";
    const server = await posed.pose("ollama", {
      "POST /api/pull": lines(
        { status: "pulling manifest" },
        { status: "pulling dde5aa3fc5ff", digest, total: 2_019_377_376 },
        { status: "pulling dde5aa3fc5ff", digest, total: 2_019_377_376, completed: 1_000_000 },
        { status: "verifying sha256 digest" },
        { status: "writing manifest" },
        { status: "success" },
      ),
    });
    expect(await order(server, "pull", "llama3.2")).toEqual([
      { phase: "starting", done_bytes: null, total_bytes: null },
      { phase: "downloading", done_bytes: 0, total_bytes: 2_019_377_376 },
      { phase: "downloading", done_bytes: 1_000_000, total_bytes: 2_019_377_376 },
      { phase: "verifying", done_bytes: null, total_bytes: null },
      { phase: "verifying", done_bytes: null, total_bytes: null },
    ]);
  });

  test.each([
    [
      "an unknown name",
      lines({ status: "pulling manifest" }, { error: "pull model manifest: file does not exist" }),
      "model_not_found",
    ],
    [
      "a full disk",
      lines({ status: "pulling manifest" }, { error: "write: no space left on device" }),
      "runtime_failed",
    ],
    ["a stream that just ends", lines({ status: "pulling manifest" }), "runtime_failed"],
    ["a line that is no JSON", lines("<html>"), "runtime_failed"],
    ["an endless line", lines("x".repeat(70_000)), "runtime_failed"],
    ["lying numbers", lines({ digest: "d", total: -1, completed: "many" }), "runtime_failed"],
    ["a refusal", status(403, { error: "pulling is switched off" }), "runtime_failed"],
    ["a redirect", status(307, {}), "runtime_failed"],
  ])("a download with %s fails as %s", async (_, route, code) => {
    const server = await posed.pose("ollama", { "POST /api/pull": route });
    expect(await failing(server, "pull", "llama3.2")).toMatchObject({ code });
  });

  test("a cloud model is not downloaded: it would not run here", async () => {
    const server = await posed.pose("ollama");
    expect(await failing(server, "pull", "gpt-oss:120b-cloud")).toMatchObject({ code: "bad_request", field: "model" });
    expect(server.seen).toEqual([]);
  });

  test("who gives a download up closes its connection, which stops it", async () => {
    const abort = new AbortController();
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    const server = await posed.pose("ollama", {
      "POST /api/pull": (_request: unknown, response: ServerResponse) => {
        response.on("close", resolve);
        response.write('{"status":"pulling manifest"}\n', () => abort.abort());
      },
    });
    await order(server, "pull", "llama3.2", abort.signal);
    await closed;
  });
});

describe("lm-studio", () => {
  const LOAD = "POST /api/v1/models/load";
  const UNLOAD = "POST /api/v1/models/unload";

  test("loads a model once: another load would be another instance", async () => {
    const server = await posed.pose("lm-studio", {
      [LOAD]: { model_instance_id: "qwen2-vl-7b-instruct", config: {}, load_time_seconds: 9.1 },
    });
    await order(server, "load", "qwen2-vl-7b-instruct");
    expect(server.bodies).toEqual([{ model: "qwen2-vl-7b-instruct" }]);
    await order(server, "load", "meta-llama-3.1-8b-instruct");
    expect(server.seen).toEqual(["GET /api/v1/models"]);
  });

  test("unloads every instance by its id", async () => {
    const instances = [{ id: "a" }, { id: "a:2" }];
    const server = await posed.pose("lm-studio", {
      "GET /api/v1/models": { models: [{ key: "a", loaded_instances: instances }] },
      [UNLOAD]: { instance_id: "a" },
    });
    await order(server, "unload", "a");
    expect(server.bodies).toEqual([{ instance_id: "a" }, { instance_id: "a:2" }]);
  });

  test("asks a download how far it is until it is complete", async () => {
    const jobId = "job_493c7c9ded";
    const half = { job_id: jobId, status: "downloading", total_size_bytes: 2_279_145_003, downloaded_bytes: 948 };
    const server = await posed.pose("lm-studio", {
      "POST /api/v1/models/download": half,
      [`GET /api/v1/models/download/status/${jobId}`]: { ...half, status: "completed" },
    });
    expect(await order(server, "pull", "qwen/qwen3-4b-2507")).toEqual([
      { phase: "starting", done_bytes: null, total_bytes: null },
      { phase: "downloading", done_bytes: 948, total_bytes: 2_279_145_003 },
    ]);
  });

  test.each([
    ["failed", "runtime_failed"],
    ["paused", "runtime_failed"],
    [undefined, "runtime_failed"],
  ])("a download that is %s fails", async (said, code) => {
    const server = await posed.pose("lm-studio", { "POST /api/v1/models/download": { job_id: "j", status: said } });
    expect(await failing(server, "pull", "m")).toMatchObject({ code });
  });

  test("what is there already is done at once", async () => {
    const server = await posed.pose("lm-studio", { "POST /api/v1/models/download": { status: "already_downloaded" } });
    expect(phases(await order(server, "pull", "m"))).toEqual(["starting"]);
  });

  test.each<ModelAction>(["load", "unload", "pull"])(
    "a version before 0.4 cannot %s, and the error says so",
    async (action) => {
      const server = await posed.pose("lm-studio", {
        "GET /api/v1/models": { error: "Unexpected endpoint or method. (GET /api/v1/models)" },
        "POST /api/v1/models/download": { error: "Unexpected endpoint or method. (POST /api/v1/models/download)" },
      });
      expect(await failing(server, action, "m")).toMatchObject({
        code: "not_supported",
        message: expect.stringContaining("0.4.0"),
      });
    },
  );
});

describe("llama-server", () => {
  const list = (value: string, failed = false) => ({
    object: "list",
    data: [{ id: "a", owned_by: "llamacpp", status: { value, ...(failed ? { failed, exit_code: 1 } : {}) } }],
  });
  const router = { role: "router", default_generation_settings: { params: {}, n_ctx: 0 }, build_info: "b7000" };

  test("as a router loads a model and tells when it is in memory", async () => {
    const server = await posed.pose("llama-server", { "GET /props": router, "GET /v1/models": list("unloaded") });
    server.routes.set("POST /models/load", (_request: unknown, response: ServerResponse) => {
      server.routes.set("GET /v1/models", (_again: unknown, second: ServerResponse) => {
        server.routes.set("GET /v1/models", list("loaded"));
        second.end(JSON.stringify(list("loading")));
      });
      response.end('{"success":true}');
    });
    expect(phases(await order(server, "load", "a"))).toEqual(["loading"]);
    expect(server.bodies).toEqual([{ model: "a" }]);
  });

  test("as a router says when a model does not come up", async () => {
    const server = await posed.pose("llama-server", { "GET /props": router, "GET /v1/models": list("unloaded") });
    server.routes.set("POST /models/load", (_request: unknown, response: ServerResponse) => {
      server.routes.set("GET /v1/models", list("unloaded", true));
      response.end('{"success":true}');
    });
    expect(await failing(server, "load", "a")).toMatchObject({ code: "runtime_failed" });
  });

  test("downloads nothing, and with one model changes nothing", async () => {
    const server = await posed.pose("llama-server");
    for (const action of ["load", "unload", "pull"] as const)
      expect(await failing(server, action, "gemma3-270m")).toMatchObject({
        code: "not_supported",
        message: expect.stringContaining("--model"),
      });
    expect(server.seen).toEqual([]);
  });
});

test.each(["vllm", "sglang", "xinference", "mlx-server", "openai-compatible"])(
  "%s lets nobody manage its models, and the error says what to do instead",
  async (kind) => {
    const server = await posed.pose(kind);
    const { runtimes } = await watching({ endpoints: [server.url] }).inspect(never);
    expect([...runtimes.values()][0]?.state.record.manages).toEqual([]);
    for (const action of ["load", "unload", "pull"] as const) {
      const error = await failing(server, action, "m");
      expect(error).toMatchObject({ code: "not_supported", field: "command" });
      expect((error as Error).message).toMatch(/; .{20,}/);
    }
    expect(server.seen).toEqual([]);
  },
);

test("a runtime that is gone fails an order about its models", async () => {
  const server = await posed.pose("ollama", {
    "POST /api/generate": (_request: unknown, response: ServerResponse) => response.destroy(),
  });
  expect(await failing(server, "load", "llama3.2:latest")).toMatchObject({ code: "runtime_failed" });
});
