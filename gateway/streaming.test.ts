import { connect } from "node:net";
import { expect, test } from "vitest";
import { MeshError } from "../bus-schemas/index.ts";
import { ACCEPTED, FAKE_JOB, FakeMesh, ending, saying } from "../test/kit/fake-mesh.ts";
import { startGateway } from "../test/kit/gateway.ts";

const BODY = JSON.stringify({ stream: true, messages: [{ role: "user", content: "hi" }] });

function ask(url: string): Promise<Response> {
  return fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    body: BODY,
    headers: { "content-type": "application/json" },
  });
}

const RAW_REQUEST = `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`;

/** Text read from a response until it matches. */
async function readUntil(reader: ReadableStreamDefaultReader<Uint8Array>, pattern: RegExp): Promise<string> {
  let text = "";
  while (!pattern.test(text)) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`the stream ended before ${pattern}`);
    text += Buffer.from(value).toString();
  }
  return text;
}

test("each piece is sent as soon as it is there", async () => {
  const next = Promise.withResolvers<void>();
  await using gateway = await startGateway(
    new FakeMesh(async function* () {
      yield ACCEPTED;
      yield { type: "delta", content: "one" };
      await next.promise;
      yield { type: "delta", content: "two" };
      yield ending();
    }),
  );
  const response = await ask(gateway.url);
  const reader = response.body!.getReader();
  const first = await readUntil(reader, /one/);
  expect(first).not.toContain("two");
  next.resolve();
  const rest = await readUntil(reader, /\[DONE\]/);
  expect(rest).toContain("two");
  expect(rest.endsWith("data: [DONE]\n\n")).toBe(true);
  expect((await reader.read()).done).toBe(true);
});

test("while nothing comes a comment keeps the connection, and the answer still follows", async () => {
  const go = Promise.withResolvers<void>();
  await using gateway = await startGateway(
    new FakeMesh(async function* () {
      yield ACCEPTED;
      await go.promise;
      yield { type: "delta", content: "late" };
      yield ending();
    }),
    { limits: { sseKeepAliveMs: 10 } },
  );
  const response = await ask(gateway.url);
  expect(response.headers.get("x-tiermesh-node")).toBe("n1");
  const reader = response.body!.getReader();
  const waiting = await readUntil(reader, /(: still working\n\n){2}/);
  expect(waiting).not.toContain("data:");
  go.resolve();
  expect(await readUntil(reader, /\[DONE\]/)).toContain("late");
});

test("a job that fails after the stream began ends it with one error event and no [DONE]", async () => {
  const failed = ending({ status: "failed", error: new MeshError("runtime_failed", "the runtime crashed").toWire() });
  await using gateway = await startGateway(new FakeMesh(saying(ACCEPTED, { type: "delta", content: "a" }, failed)));
  const text = await (await ask(gateway.url)).text();
  const events = text.trimEnd().split("\n\n");
  expect(JSON.parse(events.at(-1)!.slice("data: ".length))).toEqual({
    error: { message: "the runtime crashed", type: "server_error", param: null, code: "runtime_failed" },
  });
  expect(text).not.toContain("[DONE]");
});

test("a stream that breaks without an end is an error event too, and says nothing of the cause", async () => {
  await using gateway = await startGateway(
    new FakeMesh(async function* () {
      yield ACCEPTED;
      yield { type: "delta", content: "a" };
      throw new Error("my-secret-prompt");
    }),
  );
  const text = await (await ask(gateway.url)).text();
  expect(text).toContain('"code":"internal"');
  expect(text).not.toMatch(/secret|\[DONE\]/);
});

test("a reader that stops reading holds back the sender, and loses the stream when it stalls", async () => {
  const piece = "x".repeat(64 * 1024);
  let sentBytes = 0;
  const mesh = new FakeMesh(async function* () {
    yield ACCEPTED;
    // Endless: without backpressure this would fill memory and never be left.
    for (;;) {
      sentBytes += piece.length;
      yield { type: "delta", content: piece };
    }
  });
  await using gateway = await startGateway(mesh, { limits: { sseStallMs: 200 } });
  const socket = connect(gateway.port, "127.0.0.1", () => socket.write(RAW_REQUEST));
  socket.pause();
  socket.on("error", () => {});
  await mesh.left;
  // What fits into the kernel's socket buffers on both sides, and little more.
  expect(sentBytes).toBeLessThan(32 * 1024 * 1024);
  expect(await gateway.metric("http_stalled_readers_total")).toMatch(/ 1$/m);
  socket.destroy();
});

test("a reader that pauses and goes on gets every piece, in order", async () => {
  const count = 300;
  const piece = "y".repeat(64 * 1024);
  await using gateway = await startGateway(
    new FakeMesh(async function* () {
      yield ACCEPTED;
      for (let i = 0; i < count; i++) yield { type: "delta", content: `${i};${piece}` };
      yield ending();
    }),
  );
  const response = await ask(gateway.url);
  const reader = response.body!.getReader();
  const start = await readUntil(reader, /"0;/);
  // The sender has run into the full buffers by the time the event loop has turned this often.
  for (let turn = 0; turn < 200; turn++) await new Promise(setImmediate);
  const rest: Uint8Array[] = [];
  for (let part = await reader.read(); !part.done; part = await reader.read()) rest.push(part.value);
  const text = start + Buffer.concat(rest).toString();
  expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
  const numbers = [...text.matchAll(/"content":"(\d+);/g)].map((match) => Number(match[1]));
  expect(numbers).toEqual(Array.from({ length: count }, (_, i) => i));
});

test("a caller that leaves before the first piece cancels the job", async () => {
  const started = Promise.withResolvers<void>();
  const mesh = new FakeMesh(async function* () {
    started.resolve();
    await new Promise<never>(() => {});
    yield ACCEPTED;
  });
  await using gateway = await startGateway(mesh);
  const socket = connect(gateway.port, "127.0.0.1", () => socket.write(RAW_REQUEST));
  await started.promise;
  socket.destroy();
  await new Promise<void>((resolve) => mesh.seen[0]!.options.signal!.addEventListener("abort", () => resolve()));
  expect(gateway.exchanges.size).toBe(0);
});

test("a gateway that stops ends what does not end by itself with one clear error", async () => {
  const mesh = new FakeMesh(async function* () {
    yield ACCEPTED;
    yield { type: "delta", content: "first" };
    await new Promise<never>(() => {});
  });
  await using gateway = await startGateway(mesh);
  const reader = (await ask(gateway.url)).body!.getReader();
  await readUntil(reader, /first/);
  const stopped = gateway.stop(10);
  expect(await readUntil(reader, /draining/)).toContain('"error"');
  expect((await reader.read()).done).toBe(true);
  await stopped;
  await expect(ask(gateway.url)).rejects.toThrow(TypeError);
});

test("a gateway that stops lets a running answer end, and refuses new requests on open connections", async () => {
  const go = Promise.withResolvers<void>();
  await using gateway = await startGateway(
    new FakeMesh(async function* () {
      yield ACCEPTED;
      yield { type: "delta", content: "first" };
      await go.promise;
      yield ending();
    }),
  );
  let old = "";
  const socket = connect(gateway.port, "127.0.0.1");
  const closed = new Promise((resolve) => socket.on("close", resolve));
  const heard = new Promise<void>((resolve) => socket.on("data", (data) => ((old += data.toString()), resolve())));
  socket.write("GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\nGET /health HTTP/1.1\r\n");
  await heard;
  const reader = (await ask(gateway.url)).body!.getReader();
  await readUntil(reader, /first/);
  const stopped = gateway.stop(60_000);
  socket.write("Host: x\r\n\r\n");
  await closed;
  expect(old).toMatch(/HTTP\/1\.1 503 [\s\S]*"code":"draining"/);
  go.resolve();
  await readUntil(reader, /\[DONE\]/);
  await stopped;
});

test("a connection on which nothing was ever sent does not hold up the stop", async () => {
  await using gateway = await startGateway(new FakeMesh(saying(ACCEPTED, ending())));
  const socket = connect(gateway.port, "127.0.0.1");
  const closed = new Promise((resolve) => socket.on("close", resolve));
  socket.on("error", () => {});
  await (await fetch(`${gateway.url}/health`)).text();
  await gateway.stop(60_000);
  await closed;
});

test("a model that has to be loaded first is announced in a header", async () => {
  const accepted = { ...ACCEPTED, cold_start_ms: 4000 } as typeof ACCEPTED;
  await using gateway = await startGateway(new FakeMesh(saying(accepted, ending())));
  const response = await ask(gateway.url);
  expect(response.headers.get("x-tiermesh-cold-start-ms")).toBe("4000");
  await response.text();
});

test("a model's name that no header can hold is percent-encoded there and whole in the chunks", async () => {
  const accepted = { ...ACCEPTED, model: "通义:7b" } as typeof ACCEPTED;
  await using gateway = await startGateway(new FakeMesh(saying(accepted, ending({ model: "通义:7b" }))));
  const response = await ask(gateway.url);
  expect(response.headers.get("x-tiermesh-model")).toBe(encodeURIComponent("通义:7b"));
  expect(response.headers.get("x-tiermesh-job")).toBe(FAKE_JOB);
  expect(await response.text()).toContain('"model":"通义:7b"');
});

test("reasoning comes as reasoning_content, apart from the answer", async () => {
  await using gateway = await startGateway(
    new FakeMesh(saying(ACCEPTED, { type: "delta", reasoning: "hmm" }, { type: "delta", content: "yes" }, ending())),
  );
  const text = await (await ask(gateway.url)).text();
  expect(text).toContain('"delta":{"reasoning_content":"hmm"}');
  expect(text).toContain('"delta":{"content":"yes"}');
});
