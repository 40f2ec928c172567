import type { IncomingMessage, ServerResponse } from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually, startMesh, type TestMesh } from "../kit/mesh.ts";
import { startServer, type TestServer } from "../kit/runtime-servers.ts";
import { SURFACES } from "../kit/runtime-surfaces.ts";

/** Models are managed from the command line to a runtime, over the whole mesh; the runtime is Ollama's documented API. */

const MODEL = "llama3.2:latest";
let mesh: TestMesh;
let ollama: TestServer;
/** What is in its memory, and what it was asked to keep or drop. */
const memory = new Set<string>();
const asked: unknown[] = [];

beforeAll(async () => {
  const surface = SURFACES.find(({ kind }) => kind === "ollama");
  if (surface === undefined) throw new Error("no such surface");
  ollama = await startServer({
    ...surface.routes,
    "GET /api/ps": (_request: IncomingMessage, response: ServerResponse) => {
      const models = Array.from(memory, (name) => ({ name, model: name, size_vram: 2 ** 30, context_length: 4096 }));
      response.end(JSON.stringify({ models }));
    },
    "POST /api/generate": (_request: IncomingMessage, response: ServerResponse, body: string) => {
      const { model, keep_alive: keep } = JSON.parse(body) as { model: string; keep_alive: number };
      asked.push(keep);
      if (keep === 0) memory.delete(model);
      else memory.add(model);
      response.end(JSON.stringify({ model, response: "", done: true }));
    },
    "POST /api/pull": (_request: IncomingMessage, response: ServerResponse, body: string) => {
      const { model } = JSON.parse(body) as { model: string };
      response.writeHead(200, { "content-type": "application/x-ndjson" });
      const say = (line: object) => response.write(`${JSON.stringify(line)}\n`);
      say({ status: "pulling manifest" });
      if (model === "nonsense") return void response.end('{"error":"pull model manifest: file does not exist"}\n');
      say({ status: "pulling d", digest: "sha256:d", total: 2 ** 31, completed: 2 ** 30 });
      response.end('{"status":"success"}\n');
    },
  });
  const env = { TIERMESH_RUNTIMES: ollama.url, TIERMESH_LOOPBACK: "false", TIERMESH_KEEP_WARM: "llama3.2" };
  mesh = await startMesh(env);
});
afterAll(async () => {
  await mesh?.[Symbol.asyncDispose]();
  await ollama?.close();
});

async function listed(): Promise<Record<string, unknown>> {
  const { out } = await mesh.run("model", "list", "here", "--json");
  return (JSON.parse(out) as Record<string, unknown>[])[0] ?? {};
}

test("a model of the keep-warm list is loaded when the agent starts, and its GPU memory is told", async () => {
  await eventually("loaded", () => memory.has(MODEL));
  expect(asked).toEqual([-1]);
  await eventually("told", async () => (await listed())["loaded"]);
  expect(await listed()).toMatchObject({
    node_id: "here",
    name: MODEL,
    runtime: expect.stringMatching(/^ollama/),
    vram_gb: 1,
  });
});

test("unload and load reach the runtime, and what is listed is true at once", async () => {
  expect(await mesh.run("model", "unload", "here", "llama3.2")).toMatchObject({
    code: 0,
    out: "llama3.2 is out of the memory of here",
  });
  // Not the last: the keep-warm list may have loaded it again meanwhile.
  expect(asked).toContain(0);
  const { code, out } = await mesh.run("model", "load", "here", MODEL, "--json");
  expect([code, JSON.parse(out)]).toEqual([0, { command: "load-model", model: MODEL, node_id: "here", ok: true }]);
  expect(await listed()).toMatchObject({ loaded: true });
});

test("a download tells how far it is, and one that fails says why and what to do, with exit code 1", async () => {
  const { code, out, err } = await mesh.run("model", "pull", "here", "llama3.2:1b");
  expect([code, out]).toEqual([0, "llama3.2:1b is on the disk of here"]);
  expect(err).toContain("downloading 50 %, 1.0 of 2.0 GB");
  const failed = await mesh.run("model", "pull", "here", "nonsense", "--json");
  expect(failed.code).toBe(1);
  expect(JSON.parse(failed.out)).toMatchObject({ error: { code: "model_not_found", field: "model" } });
  expect(failed.err).toContain("knows no model nonsense");
});

test("a node that is not there and a model that is not there are told by name", async () => {
  const [node, model] = await Promise.all([
    mesh.run("model", "load", "nobody", MODEL),
    mesh.run("model", "unload", "here", "huge"),
  ]);
  expect(node).toMatchObject({ code: 1, err: expect.stringContaining("no node nobody listens") });
  expect(model).toMatchObject({ code: 1, err: expect.stringContaining("tiermesh model list") });
});

test("every command about a model is in the record, with its end", async () => {
  const events = await eventually("recorded", async () => {
    const { out } = await mesh.run("audit", "tail", "--type", "node_controlled", "--json");
    const all = out.split("\n").filter((line) => line !== "");
    return all.length >= 5 && all.map((line) => JSON.parse(line) as { data?: object; event?: { data: object } });
  });
  const data = events.map((entry) => entry.data ?? entry.event?.data);
  expect(data).toMatchObject([
    { command: "unload-model", model: MODEL },
    { command: "load-model", model: MODEL },
    { command: "pull", model: "llama3.2:1b" },
    { command: "pull", model: "nonsense", error: { code: "model_not_found" } },
    { command: "unload-model", model: "huge", error: { code: "model_not_found" } },
  ]);
});
