import type { ServerResponse } from "node:http";
import { afterEach, expect, test } from "vitest";
import type { StreamDone } from "./openai-answer.ts";
import { streamJob } from "./openai-http.ts";
import { CHAT, deltaEvent, event, startServer, stream, type TestServer } from "../../test/kit/runtime-servers.ts";
import { runtimeJob } from "../../test/kit/runtime-job.ts";

const servers: TestServer[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

const never = new AbortController().signal;
const secret = "the-secret-prompt";
const job = runtimeJob({ messages: [{ role: "user", content: secret }] });

async function run(route: unknown, signal: AbortSignal = never) {
  const server = await startServer({ [CHAT]: route });
  servers.push(server);
  const chunks = [];
  for await (const chunk of streamJob({ host: "127.0.0.1", port: server.port }, job, signal)) chunks.push(chunk);
  return chunks;
}

const failure = (route: unknown): Promise<unknown> =>
  run(route).then(
    () => "no failure",
    (error: unknown) => error,
  );

const status =
  (code: number, headers: Record<string, string> = {}) =>
  (_request: unknown, response: ServerResponse) =>
    void response.writeHead(code, headers).end(JSON.stringify({ error: { message: `bad prompt: ${secret}` } }));

test.each([
  [400, "bad_request"],
  [422, "bad_request"],
  [413, "payload_too_large"],
  [429, "all_busy"],
  [503, "all_busy"],
  [401, "runtime_failed"],
  [404, "runtime_failed"],
  [307, "runtime_failed"],
  [500, "runtime_failed"],
])("HTTP %i becomes %s and never quotes the body", async (code, expected) => {
  const error = await failure(status(code));
  expect(error).toMatchObject({ name: "MeshError", code: expected });
  expect(JSON.stringify([String(error), (error as Error).stack])).not.toContain(secret);
});

test("a busy runtime's Retry-After is passed on in milliseconds", async () => {
  expect(await failure(status(503, { "retry-after": "2" }))).toMatchObject({ code: "all_busy", retryAfterMs: 2000 });
  expect(await failure(status(503, { "retry-after": "tomorrow" }))).toMatchObject({ retryAfterMs: undefined });
});

test("the mesh's own gateway is refused even when it has taken the port since the last inspection", async () => {
  expect(await failure(status(200, { server: "tiermesh", "content-type": "text/event-stream" }))).toMatchObject({
    code: "runtime_failed",
  });
});

test("an answer that is no event stream is a failure, not an empty answer", async () => {
  expect(await failure({ choices: [{ message: { content: "hi" } }] })).toMatchObject({ code: "runtime_failed" });
});

test("a stream that ends without [DONE] is complete when it said why it stopped", async () => {
  const chunks = await run(stream(deltaEvent({ content: "a" }), deltaEvent({}, "length")));
  expect(chunks.at(-1)).toMatchObject({ type: "done", finishReason: "length" });
});

test("a stream that just ends is a failure", async () => {
  expect(await failure(stream(deltaEvent({ content: "a" })))).toMatchObject({ code: "runtime_failed" });
  expect(await failure(stream())).toMatchObject({ code: "runtime_failed" });
});

test("a connection that breaks in the middle is a failure", async () => {
  const error = await failure((_request: unknown, response: ServerResponse) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(deltaEvent({ content: "a" }), () => response.destroy());
  });
  expect(error).toMatchObject({ code: "runtime_failed" });
});

test("nobody listening is a failure", async () => {
  const server = await startServer({});
  await server.close();
  const chunks = streamJob({ host: "127.0.0.1", port: server.port }, job, never)[Symbol.asyncIterator]();
  await expect(chunks.next()).rejects.toMatchObject({ code: "runtime_failed" });
});

test.each([
  ["a chunk that is not JSON", event(`{"choices": ${secret}`)],
  ["a chunk that is no object", event("[1, 2]")],
  ["an error object", event({ error: { message: secret } })],
  ["an error text", event({ error: secret })],
  ["an error event", `event: error\ndata: {"message":"${secret}"}\n\n`],
])("%s in the middle is a failure that quotes nothing", async (_name, piece) => {
  const error = await failure(stream(deltaEvent({ content: "a" }), piece, deltaEvent({}, "stop"), event("[DONE]")));
  expect(error).toMatchObject({ code: "runtime_failed" });
  expect(String(error)).not.toContain(secret);
});

test("comments, unknown fields and empty deltas are passed over", async () => {
  const chunks = await run(
    stream(
      ": ping\n\n",
      "nonsense\n",
      "id: 3\n",
      deltaEvent({ role: "assistant", content: "" }),
      deltaEvent({ content: "a" }),
      deltaEvent({}, "stop"),
      event("[DONE]"),
    ),
  );
  expect(chunks).toEqual([{ type: "delta", content: "a" }, expect.objectContaining({ type: "done" })]);
});

test("an endless event is cut off", async () => {
  const error = await failure((_request: unknown, response: ServerResponse) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write("data: ");
    const more = () => {
      while (!response.destroyed && response.write("x".repeat(65536)));
    };
    response.on("drain", more);
    more();
  });
  expect(error).toMatchObject({ code: "runtime_failed", message: expect.stringContaining("too long") });
});

test("reasoning and tool calls are passed on in OpenAI's streaming shape", async () => {
  const call = { index: 0, id: "c1", type: "function", function: { name: "f", arguments: "{" } };
  const chunks = await run(
    stream(
      deltaEvent({ reasoning_content: "hm" }),
      deltaEvent({ reasoning: "so" }),
      deltaEvent({ tool_calls: [call] }),
      deltaEvent({ tool_calls: [{ function: { arguments: "}" } }, "junk"] }),
      deltaEvent({}, "tool_calls"),
      event("[DONE]"),
    ),
  );
  expect(chunks).toEqual([
    { type: "delta", reasoning: "hm" },
    { type: "delta", reasoning: "so" },
    { type: "delta", tool_calls: [call] },
    { type: "delta", tool_calls: [{ index: 0, function: { arguments: "}" } }] },
    expect.objectContaining({ finishReason: "tool_calls" }),
  ]);
});

test("a character cut in two by the network arrives whole", async () => {
  const bytes = Buffer.from(deltaEvent({ content: "中文" }));
  const cut = bytes.indexOf(Buffer.from("文")) + 1;
  const chunks = await run((_request: unknown, response: ServerResponse) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(bytes.subarray(0, cut), () => {
      setImmediate(() => response.end(Buffer.concat([bytes.subarray(cut), Buffer.from(event("[DONE]"))])));
    });
  });
  expect(chunks[0]).toEqual({ type: "delta", content: "中文" });
});

test("usage is estimated, and marked so, when the runtime gives none or nonsense", async () => {
  for (const usage of [undefined, null, { prompt_tokens: -1, completion_tokens: 1e12 }, "many"]) {
    const chunks = await run(
      stream(
        deltaEvent({ content: "one" }),
        deltaEvent({ content: "two" }),
        event({ choices: [], usage }),
        event("[DONE]"),
      ),
    );
    const done = chunks.at(-1) as StreamDone;
    expect(done.usage).toEqual({ prompt_tokens: 9, completion_tokens: 2, estimated: true });
  }
});

test("a runtime that never answers is left when the job is aborted", async () => {
  const abort = new AbortController();
  expect(await run(() => abort.abort(), abort.signal)).toEqual([]);
});

test("a job aborted beforehand sends nothing", async () => {
  const server = await startServer({ [CHAT]: stream(event("[DONE]")) });
  servers.push(server);
  for await (const _chunk of streamJob({ host: "127.0.0.1", port: server.port }, job, AbortSignal.abort()))
    expect.unreachable();
  expect(server.seen).toEqual([]);
});

test("leaving the loop closes the connection", async () => {
  let closed: Promise<void> | undefined;
  const server = await startServer({
    [CHAT]: (_request: unknown, response: ServerResponse) => {
      closed = new Promise((resolve) => response.on("close", resolve));
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(deltaEvent({ content: "a" }));
    },
  });
  servers.push(server);
  for await (const _chunk of streamJob({ host: "127.0.0.1", port: server.port }, job, never)) break;
  await closed;
});
