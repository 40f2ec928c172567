import { connect, type Socket } from "node:net";
import fc from "fast-check";
import { expect, test } from "vitest";
import { ACCEPTED, FakeMesh, ending, saying } from "../test/kit/fake-mesh.ts";
import { startGateway } from "../test/kit/gateway.ts";

const ANSWER = saying(ACCEPTED, { type: "delta", content: "ok" }, ending());
const CHAT = "/v1/chat/completions";

interface Answer {
  status: number;
  headers: Headers;
  error: { message: string; type: string; param: string | null; code: string };
}

async function send(url: string, init: RequestInit): Promise<Answer> {
  const response = await fetch(url, init);
  const body = (await response.json()) as { error: Answer["error"] };
  return { status: response.status, headers: response.headers, error: body.error };
}

function post(url: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  return send(url, {
    method: "POST",
    body: typeof body === "string" ? body : JSON.stringify(body),
    headers: { "content-type": "application/json", ...headers },
  });
}

/** Sends these bytes on a connection of their own and resolves with everything that came back until it closed. */
function sendRaw(port: number, bytes: string, after: (socket: Socket) => void = () => {}): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    const socket = connect(port, "127.0.0.1", () => {
      socket.write(bytes);
      after(socket);
    });
    socket.on("data", (data) => (text += data.toString("latin1")));
    socket.on("error", () => {});
    socket.on("close", () => resolve(text));
  });
}

async function stillServes(url: string): Promise<void> {
  const response = await fetch(`${url}${CHAT}`, {
    method: "POST",
    body: '{"messages":[{"role":"user","content":"hi"}]}',
    headers: { "content-type": "application/json" },
  });
  expect(response.status).toBe(200);
  await response.text();
}

test.each([
  ["[]", null],
  ["null", null],
  ['"text"', null],
  ["{}", "messages"],
  ['{"messages":"hi"}', "messages"],
  ['{"messages":[]}', "messages"],
  ['{"messages":[{"role":"robot","content":"x"}]}', "messages[0].role"],
  ['{"messages":[{"role":"user","content":5}]}', "messages[0].content"],
  ['{"messages":[{"role":"user","content":"x"}],"stream":"yes"}', "stream"],
  ['{"messages":[{"role":"user","content":"x"}],"stream_options":5}', "stream_options"],
  [
    '{"messages":[{"role":"user","content":"x"}],"stream_options":{"include_usage":"no"}}',
    "stream_options.include_usage",
  ],
  ['{"messages":[{"role":"user","content":"x"}],"model":7}', "model"],
  ['{"messages":[{"role":"user","content":"x"}],"n":2}', "n"],
  ['{"messages":[{"role":"user","content":"x"}],"max_tokens":"9"}', "max_tokens"],
  ['{"messages":[{"role":"user","content":"x"}],"max_completion_tokens":{}}', "max_completion_tokens"],
  ['{"messages":[{"role":"user","content":"x"}],"top_p":-1}', "top_p"],
  ['{"messages":[{"role":"user","content":"x"}],"tools":{}}', "tools"],
  ['{"messages":[{"role":"user","content":"x"}],"security_level":0}', "security_level"],
  ['{"messages":[{"role":"user","content":"x"}],"metadata":"P0"}', "metadata"],
  ['{"messages":[{"role":"user","content":"x"}],"metadata":{"security_level":[]}}', "metadata.security_level"],
])("%s is a bad request that names %s", async (body, param) => {
  await using gateway = await startGateway(new FakeMesh(ANSWER));
  const { status, error, headers } = await post(gateway.url + CHAT, body);
  expect({ status, param: error.param, code: error.code, type: error.type }).toEqual({
    status: 400,
    param,
    code: "bad_request",
    type: "invalid_request_error",
  });
  expect(headers.get("server")).toBe("tiermesh");
});

test.each([
  ["Mesh-Deadline", "soon"],
  ["X-Request-Timeout-Ms", "-5"],
  ["X-Request-Timeout-Ms", "1e3"],
])("the header %s: %s is a bad request that names it", async (name, value) => {
  await using gateway = await startGateway(new FakeMesh(ANSWER));
  const { status, error } = await post(
    gateway.url + CHAT,
    { messages: [{ role: "user", content: "x" }] },
    { [name]: value },
  );
  expect([status, error.param]).toEqual([400, name]);
});

test("malformed JSON says where it breaks and never quotes the body", async () => {
  await using gateway = await startGateway(new FakeMesh(ANSWER));
  const url = gateway.url + CHAT;
  const broken = await post(url, '{"messages":[{"role":"user" "content":"my-secret-prompt"}]}');
  expect([broken.status, broken.error.message]).toEqual([400, "the body is not JSON (line 1 column 29)"]);
  expect((await post(url, '{"messages":["my-secr')).error.message).toMatch(/^the body is not JSON/);
  expect((await post(url, "my-secret-prompt")).error.message).not.toContain("secret");
  expect((await post(url, "")).error.message).toContain("empty");
  const notUtf8 = await send(url, {
    method: "POST",
    body: new Uint8Array([0x22, 0xff, 0x22]),
    headers: { "content-type": "application/json" },
  });
  expect(notUtf8.error.message).toBe("the body is not UTF-8");
});

test("whatever JSON is sent, the answer is a 200 or an error in OpenAI's shape", async () => {
  await using gateway = await startGateway(new FakeMesh(ANSWER));
  const field = fc.constantFrom(
    "messages",
    "model",
    "stream",
    "stream_options",
    "tools",
    "stop",
    "metadata",
    "security_level",
    "n",
    "requirements",
    "timeout_ms",
    "__proto__",
  );
  const body = fc.oneof(
    fc.jsonValue(),
    fc.dictionary(field, fc.jsonValue()),
    fc.dictionary(field, fc.jsonValue()).map((rest) => ({ ...rest, messages: [{ role: "user", content: "x" }] })),
  );
  await fc.assert(
    fc.asyncProperty(body, async (value) => {
      const response = await fetch(gateway.url + CHAT, {
        method: "POST",
        body: JSON.stringify(value),
        headers: { "content-type": "application/json" },
      });
      const text = await response.text();
      expect([200, 400]).toContain(response.status);
      // `stream: true` may come up too.
      const streamed = response.headers.get("content-type")?.startsWith("text/event-stream") === true;
      const { error } = (streamed ? {} : JSON.parse(text)) as { error?: Answer["error"] };
      expect(error === undefined ? "none" : `${typeof error.message} ${error.type} ${error.code}`).toBe(
        response.status === 200 ? "none" : "string invalid_request_error bad_request",
      );
      expect(["string", "object"]).toContain(typeof (error?.param ?? null));
    }),
    { numRuns: 200 },
  );
});

test("another media type is refused with what to send", async () => {
  await using gateway = await startGateway(new FakeMesh(ANSWER));
  // A web page can send text/plain to a loopback port without asking; JSON it cannot.
  for (const type of ["text/plain", "application/x-www-form-urlencoded"]) {
    const { status, error } = await post(gateway.url + CHAT, "{}", { "content-type": type });
    expect([status, error.code]).toEqual([415, "unsupported_media_type"]);
    expect(error.message).toContain("application/json");
  }
});

test("a body above the limit is 413, whether it says its length or not", async () => {
  await using gateway = await startGateway(new FakeMesh(ANSWER), { limits: { maxBodyBytes: 1000 } });
  const { status, error } = await post(gateway.url + CHAT, { messages: [{ role: "user", content: "x".repeat(1000) }] });
  expect([status, error.code]).toEqual([413, "payload_too_large"]);
  expect(error.message).toContain("1000 bytes");
  const chunk = `400\r\n${"x".repeat(1024)}\r\n`;
  const raw = await sendRaw(
    gateway.port,
    `POST ${CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}`,
  );
  expect(raw).toMatch(/^HTTP\/1\.1 413 /);
  await stillServes(gateway.url);
});

test("an unknown path says which paths exist, a wrong method which it takes", async () => {
  await using gateway = await startGateway(new FakeMesh(ANSWER));
  const gone = await send(`${gateway.url}/v1/chat`, { method: "POST" });
  expect([gone.status, gone.error.code, gone.headers.get("server")]).toEqual([404, "not_found", "tiermesh"]);
  for (const path of ["GET /health", "GET /metrics", "POST /route", "GET /v1/models", "POST /v1/chat/completions"])
    expect(gone.error.message).toContain(path);
  const wrong = await send(gateway.url + CHAT, { method: "GET" });
  expect([wrong.status, wrong.error.code, wrong.headers.get("allow")]).toEqual([405, "method_not_allowed", "POST"]);
  expect((await send(`${gateway.url}/v1/models/a%2Fb`, { method: "DELETE" })).status).toBe(405);
  expect((await send(`${gateway.url}/health`, { method: "OPTIONS" })).status).toBe(405);
  const badUrl = await send(`${gateway.url}/v1/models/%zz`, {});
  expect([badUrl.status, badUrl.error.code, badUrl.headers.get("server")]).toEqual([400, "bad_request", "tiermesh"]);
});

test.each([
  ["bytes that are no HTTP", "\x00\x01\x02garbage\r\n\r\n", 400],
  ["a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400],
  ["oversized headers", `GET /health HTTP/1.1\r\nHost: x\r\nX-Long: ${"a".repeat(40_000)}\r\n\r\n`, 431],
  ["two lengths", `POST ${CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}`, 400],
])("%s get a typed answer and the connection closes", async (_what, bytes, status) => {
  await using gateway = await startGateway(new FakeMesh(ANSWER));
  const raw = await sendRaw(gateway.port, bytes);
  expect(raw).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  expect(raw).toContain("server: tiermesh");
  expect(JSON.parse(raw.slice(raw.indexOf("\r\n\r\n") + 4))).toMatchObject({
    error: { type: "invalid_request_error" },
  });
  await stillServes(gateway.url);
});

test("a head that drips in for too long is 408", async () => {
  await using gateway = await startGateway(new FakeMesh(ANSWER), {
    limits: { headersTimeoutMs: 100, requestTimeoutMs: 200, checkEveryMs: 20 },
  });
  const raw = await sendRaw(gateway.port, "POST /route HTTP/1.1\r\nHost: x\r\nX-Slow: ");
  expect(raw).toMatch(/^HTTP\/1\.1 408 /);
  expect(raw).toContain('"code":"request_timeout"');
  await stillServes(gateway.url);
});

test("a body that never comes is 408", async () => {
  await using gateway = await startGateway(new FakeMesh(ANSWER), {
    limits: { headersTimeoutMs: 100, requestTimeoutMs: 200, checkEveryMs: 20 },
  });
  const raw = await sendRaw(
    gateway.port,
    `POST ${CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"mess`,
  );
  expect(raw).toMatch(/^HTTP\/1\.1 408 /);
  await stillServes(gateway.url);
});

test("a caller that leaves in the middle of its body starts no job and harms nobody", async () => {
  const mesh = new FakeMesh(ANSWER);
  await using gateway = await startGateway(mesh);
  await sendRaw(
    gateway.port,
    `POST ${CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"mess`,
    (socket) => socket.end(),
  );
  await stillServes(gateway.url);
  expect(mesh.seen.length).toBe(1);
});
