import type { ServerResponse } from "node:http";
import { afterEach, expect, test } from "vitest";
import { PosedRuntimes, modelsOf, never, watching } from "../../test/kit/posed-runtimes.ts";
import { SURFACES } from "../../test/kit/runtime-surfaces.ts";

/** Runtimes that lie, or that somebody else has put in a runtime's place. */

const posed = new PosedRuntimes();
afterEach(() => posed.closeAll());

test("a gigabyte of JSON is hung up on after a megabyte or two, and nothing of it is kept", async () => {
  let sentBytes = 0;
  let hungUp: Promise<void> | undefined;
  const chunk = Buffer.alloc(64 * 1024, "[");
  const endless = (_request: unknown, response: ServerResponse) => {
    hungUp = new Promise((resolve) => response.on("close", resolve));
    const more = () => {
      while (!response.destroyed && sentBytes < 2 ** 30) {
        sentBytes += chunk.byteLength;
        if (!response.write(chunk)) return;
      }
    };
    response.on("drain", more);
    more();
  };
  const server = await posed.pose("ollama", { "GET /api/tags": endless });
  const { runtimes, problems } = await watching({ endpoints: [server.url] }).inspect(never);
  await hungUp;
  expect(runtimes.size).toBe(0);
  expect(problems).toEqual([{ endpoint: server.url, problem: "answered with more than 1 MiB" }]);
  // What the kernel's buffers took beyond the cap.
  expect(sentBytes).toBeLessThan(64 * 2 ** 20);
});

test("a body that drips is given up on like one that does not come", async () => {
  const server = await posed.pose("vllm", {
    "GET /v1/models": (_request: unknown, response: ServerResponse) => {
      const timer = setInterval(() => response.write(" "), 20);
      response.on("close", () => clearInterval(timer));
    },
  });
  const { problems } = await watching({ endpoints: [server.url] }).inspect(never);
  expect(problems).toMatchObject([{ problem: expect.stringContaining("within 500 ms") }]);
});

test("a connection that is closed in the middle of an answer is a problem, not a crash", async () => {
  const server = await posed.pose("lm-studio", {
    "GET /api/v0/models": (_request: unknown, response: ServerResponse) => {
      response.writeHead(200, { "content-length": "1000" });
      response.write('{"object": "list", "data": [', () => response.destroy());
    },
  });
  const { runtimes, problems } = await watching({ endpoints: [server.url] }).inspect(never);
  expect(runtimes.size).toBe(0);
  expect(problems).toMatchObject([{ problem: expect.stringContaining("closed the connection") }]);
});

const tags = (...models: object[]) => ({
  models: models.map((model, at) => ({ digest: `d${at}`, size: 9, ...model })),
});

test.each([
  ["a cloud tag", { name: "gpt-oss:cloud" }],
  ["a cloud tag with a size", { name: "gpt-oss:120b-cloud" }],
  ["a cloud tag in capitals", { name: "gpt-oss:CLOUD" }],
  ["a cloud tag in the other name only", { name: "mine", model: "gpt-oss:cloud" }],
  ["a remote host", { name: "mine", remote_host: "https://ollama.com:443" }],
  ["a remote model", { name: "mine", remote_model: "gpt-oss:120b" }],
])("an Ollama model with %s is never local, whatever else it says", async (_, model) => {
  const server = await posed.pose("ollama", { "GET /api/tags": tags(model, { name: "honest" }) });
  expect((await modelsOf(server)).map(({ name }) => name)).toEqual(["honest"]);
});

test("a model that becomes a cloud model under its old name is not offered any more", async () => {
  const server = await posed.pose("ollama", { "GET /api/tags": tags({ name: "mine" }) });
  const runtimes = watching({ endpoints: [server.url] });
  const names = async () =>
    [...(await runtimes.inspect(never)).runtimes.values()].flatMap(({ state }) => state.models.map(({ name }) => name));
  expect(await names()).toEqual(["mine"]);
  server.routes.set("GET /api/tags", tags({ name: "mine", remote_host: "https://ollama.com:443" }));
  expect(await names()).toEqual([]);
});

test("a list that changes is believed each time anew, with no more than 500 models of it", async () => {
  const list = (ids: string[]) => ({ object: "list", data: ids.map((id) => ({ id, object: "model" })) });
  const server = await posed.pose("openai-compatible");
  const runtimes = watching({ endpoints: [server.url] });
  const names = async () =>
    [...(await runtimes.inspect(never)).runtimes.values()].flatMap(({ state }) => state.models.map(({ name }) => name));
  for (const ids of [["a", "b"], ["b"], [], ["c"]]) {
    server.routes.set("GET /v1/models", list(ids));
    expect(await names()).toEqual(ids);
  }
  server.routes.set("GET /v1/models", list(Array.from({ length: 5000 }, (_, at) => `m${at}`)));
  expect(await names()).toHaveLength(500);
});

test("a name that stands twice is one model, and one that a terminal would obey is none", async () => {
  const data = ["twin", "twin", "\u001b[2Jclear", "two\nlines", "fine"].map((id) => ({ id, object: "model" }));
  const server = await posed.pose("openai-compatible", { "GET /v1/models": { object: "list", data } });
  expect((await modelsOf(server)).map(({ name }) => name)).toEqual(["twin", "fine"]);
});

test("a version that a terminal would obey is not passed on", async () => {
  const server = await posed.pose("vllm", { "GET /version": { version: "1\u001b[2J" } });
  const { runtimes } = await watching({ endpoints: [server.url] }).inspect(never);
  expect([...runtimes.values()].map(({ state }) => state.record.version)).toEqual([null]);
});

test.each(SURFACES.map(({ kind }) => kind))(
  "%s is only looked at: nothing is generated, loaded or sent",
  async (kind) => {
    const server = await posed.pose(kind);
    const runtimes = watching({ endpoints: [server.url] });
    for (let round = 0; round < 3; round++) await runtimes.inspect(never);
    // The one question of them all that Ollama takes as a POST.
    expect(server.seen.filter((key) => !key.startsWith("GET ") && key !== "POST /api/show")).toEqual([]);
  },
);
