import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { MsgHdrs } from "@nats-io/nats-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { CONTENT_TYPES, HEADERS, type StreamFrame } from "../../bus-schemas/index.ts";
import { MeshClient } from "../../client/index.ts";
import { connectBus, type Bus } from "../../service/bus.ts";
import { encode } from "../../service/codec.ts";
import { newId } from "../../service/ids.ts";
import { createLog } from "../../service/log.ts";
import { eventually, startMesh, type TestMesh } from "../kit/mesh.ts";
import { CHAT, deltaEvent, event, startServer, type TestServer } from "../kit/runtime-servers.ts";
import { SURFACES } from "../kit/runtime-surfaces.ts";

let mesh: TestMesh;
let runtime: TestServer;
let client: MeshClient;
let tap: Bus;
/** Every message on the bus, as it stands in the broker: subject, reply, headers, body. */
const heard: { subject: string; bytes: Buffer; contentType: string }[] = [];

beforeAll(async () => {
  const surface = SURFACES.find(({ kind }) => kind === "llama-server");
  if (surface === undefined) throw new Error("no such surface");
  const props = { ...(surface.routes["GET /props"] as object), total_slots: 16 };
  runtime = await startServer({ ...surface.routes, "GET /props": props, [CHAT]: echo }, surface.headers);
  // A new key every second: what runs meanwhile must not notice.
  const env = { TIERMESH_SEAL_KEY_HOURS: String(1 / 3600), TIERMESH_RUNTIMES: runtime.url };
  mesh = await startMesh({ ...env, TIERMESH_LOOPBACK: "false" }, [], { openBus: true });
  client = await MeshClient.connect({ ...mesh.address, name: "caller" });
  tap = await connectBus("wiretap", mesh.address, createLog("test", "silent"));
  tap.listen(">", (msg) => {
    const headers = [...(msg.headers ?? [])].flat(2).join("\n");
    const text = Buffer.from(`${msg.subject} ${msg.reply ?? ""}\n${headers}\n`);
    const contentType = msg.headers?.get(HEADERS.contentType) ?? "";
    heard.push({ subject: msg.subject, bytes: Buffer.concat([text, msg.data]), contentType });
  });
  await tap.nc.flush();
});
afterAll(async () => {
  await tap?.drain();
  await client?.close();
  await mesh?.[Symbol.asyncDispose]();
  await runtime?.close();
});

/** A model that says the prompt back in pieces, one word each 5 ms. */
function echo(_request: IncomingMessage, response: ServerResponse, body: string): void {
  const { messages } = JSON.parse(body) as { messages: { content: string }[] };
  const words = (messages.at(-1)?.content ?? "").split(" ");
  response.writeHead(200, { "content-type": "text/event-stream" });
  const timer = setInterval(() => {
    const word = words.shift();
    if (word !== undefined) return void response.write(deltaEvent({ content: `${word} ` }));
    clearInterval(timer);
    response.end(deltaEvent({}, "stop") + event("[DONE]"));
  }, 5);
  response.on("close", () => clearInterval(timer));
}

/** Every form in which a word of a job could stand in a message. */
function spellings(word: string): Buffer[] {
  const utf8 = Buffer.from(word);
  const aligned = [0, 1, 2].map((skip) => utf8.subarray(skip, utf8.length - ((utf8.length - skip) % 3)));
  return [
    utf8,
    Buffer.from(encode(word, "msgpack")),
    Buffer.from(utf8.toString("hex")),
    Buffer.from(utf8.toString("hex").toUpperCase()),
    Buffer.from(word, "utf16le"),
    ...aligned.flatMap((part) => [Buffer.from(part.toString("base64")), Buffer.from(part.toString("base64url"))]),
  ];
}

function heardAnywhere(word: string): string[] {
  const forms = spellings(word);
  return heard.filter(({ bytes }) => forms.some((form) => bytes.includes(form))).map(({ subject }) => subject);
}

async function framesOf(stream: AsyncIterable<StreamFrame>): Promise<StreamFrame[]> {
  const frames: StreamFrame[] = [];
  for await (const frame of stream) frames.push(frame);
  return frames;
}

test("a P0 chat by MeshClient streams its answer, and no message on the bus holds a word of it", async () => {
  const marker = `geheim${randomUUID().replaceAll("-", "")}`;
  heard.length = 0;
  const frames = await framesOf(client.stream({ security_level: "P0", prompt: `say ${marker} twice: ${marker}` }));
  const end = frames.at(-1);
  expect(end).toMatchObject({ type: "end", status: "finished", security_level: "P0", attempts: 1 });
  const deltas = frames.filter(({ type }) => type === "delta");
  expect(deltas.length).toBeGreaterThan(1);
  const answer = deltas.map((frame) => (frame.type === "delta" ? frame.content : "")).join("");
  expect(answer).toContain(marker);
  const jobId = end?.type === "end" ? end.job_id : "";
  await eventually("the ending on record", () =>
    heard.some(({ subject, bytes }) => subject.includes(".event.job_ended.P0.agent.") && bytes.includes(jobId)),
  );
  expect(heardAnywhere(marker)).toEqual([]);
  // The wiretap hears: the same in clear is found at once.
  await client.submit({ security_level: "P2", prompt: `say ${marker}` });
  expect(new Set(heardAnywhere(marker)).size).toBeGreaterThan(1);
  const sealed = heard.filter(({ contentType }) => contentType === CONTENT_TYPES.sealed);
  expect(sealed.length).toBe(1 + frames.length);
});

test("the same by HTTP: with Mesh-Class: P0 and without any class, streaming or not", async () => {
  const marker = `geheim${randomUUID().replaceAll("-", "")}`;
  heard.length = 0;
  for (const [headers, stream] of [
    [{ "Mesh-Class": "P0" }, true],
    [{ "Mesh-Class": "P0" }, false],
    [{}, false],
  ] as const) {
    const response = await fetch(`${mesh.gatewayUrl}/v1/chat/completions`, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers },
      body: JSON.stringify({ model: "auto", stream, messages: [{ role: "user", content: `say ${marker}` }] }),
    });
    expect([response.status, response.headers.get("content-type")?.split(";")[0]]).toEqual([
      200,
      stream ? "text/event-stream" : "application/json",
    ]);
    const text = await response.text();
    // The pieces of a stream come one by one: the marker is a word of its own.
    expect(text).toContain(marker);
    expect(text.includes("[DONE]")).toBe(stream);
  }
  expect(heard.filter(({ subject }) => subject === "mesh.main.job.sealed.P0.here")).toHaveLength(3);
  expect(heardAnywhere(marker)).toEqual([]);
});

test("decision and ending of a sealed job are on record as any other's, and say that it was sealed", async () => {
  const { job_id: jobId, decision_id: decisionId } = await client.submit({ security_level: "P0", prompt: "x" });
  const { out } = await eventually("both events in the log", async () => {
    const ran = await mesh.run("audit", "tail", "--job", jobId, "--json");
    return ran.out.includes("job_ended") ? ran : undefined;
  });
  expect(out).toContain("job_decided");
  expect(out).toContain(decisionId ?? "no decision id");
  expect(out.match(/"sealed":\s*true/g)?.length).toBeGreaterThanOrEqual(2);
});

test("tiermesh submit seals P0; a plain client is told encryption_required and how to do it", async () => {
  const { code, out } = await mesh.run("submit", "--class", "P0", "--json", "hello");
  expect([code, JSON.parse(out)]).toMatchObject([0, { status: "finished" }]);
  const reply = await tap.nc.request("mesh.main.job.submit.chat", '{"prompt":"x","security_level":"P0"}', {
    timeout: 5000,
  });
  const { error } = reply.json<{ error: { code: string; message: string } }>();
  expect(error.code).toBe("encryption_required");
  expect(error.message).toMatch(/MeshClient.*docs\/security\.md/);
});

test("keys change under load and no job is lost", async () => {
  const kids = new Set<string>();
  const stop = client.nodes.onChange(({ seal_keys: keys }) => kids.add(keys[0]?.kid ?? ""));
  const results: string[] = [];
  while (kids.size < 4) {
    const batch = Array.from({ length: 4 }, () => client.submit({ security_level: "P0", prompt: "x" }));
    for (const { status, error } of await Promise.all(batch)) results.push(error?.code ?? status);
  }
  stop();
  expect(new Set(results)).toEqual(new Set(["finished"]));
  expect(results.length).toBeGreaterThan(8);
});

test("a message that was heard on the bus and is sent again runs nothing", async () => {
  const original = Promise.withResolvers<{ data: Uint8Array; headers: MsgHdrs }>();
  const ear = tap.listen("mesh.main.job.sealed.P0.here", (msg) => {
    if (msg.headers !== undefined) original.resolve({ data: msg.data, headers: msg.headers });
  });
  await tap.nc.flush();
  await client.submit({ security_level: "P0", prompt: "once" });
  ear.unsubscribe();
  const { data, headers } = await original.promise;
  const replayed = await tap.nc.request("mesh.main.job.sealed.P0.here", data, { timeout: 5000, headers });
  expect(replayed.json()).toMatchObject({ status: "refused", error: { code: "ticket_rejected", field: "id" } });
  await eventually("the replay is an event", () =>
    heard.some(
      ({ subject, bytes }) => subject.includes("message_rejected") && bytes.includes('"subject_kind":"sealed"'),
    ),
  );
});

test("an agent that is killed mid-stream is one clear error", async () => {
  const frames: StreamFrame[] = [];
  for await (const frame of client.stream({ job_id: newId(), security_level: "P0", prompt: "word ".repeat(500) })) {
    frames.push(frame);
    if (frames.length === 5) process.kill(mesh.pid("agent"), "SIGKILL");
  }
  expect(frames.filter(({ type }) => type === "end")).toHaveLength(1);
  expect(frames.at(-1)).toMatchObject({ type: "end", status: "failed" });
  const end = frames.at(-1);
  expect(["node_lost", "stream_interrupted"]).toContain(end?.type === "end" ? end.error?.code : undefined);
});
