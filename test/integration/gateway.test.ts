import { createServer, type AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  HEADERS,
  JobRequest,
  MeshError,
  ROUTER_QUEUE_GROUP,
  type StreamFrame,
  lastToken,
  type JobRequest as Job,
} from "../../bus-schemas/index.ts";
import { connectBus, type Bus } from "../../service/bus.ts";
import { encode } from "../../service/codec.ts";
import { createLog } from "../../service/log.ts";
import { header, headersFor, readBody, respond } from "../../service/messages.ts";
import { announceService } from "../../service/micro.ts";
import { startTestBus, type TestBus } from "../kit/bus.ts";
import { ACCEPTED, ending } from "../kit/fake-mesh.ts";
import { startProc, type Proc } from "../kit/proc.ts";
import { TICKET_REPLY } from "../kit/sealed-stream.ts";

/**
 * The gateway as its own process on a real bus, with a scripted router on the other side: what a job looks like when it
 * has crossed HTTP, MeshClient and NATS, and how the process starts and stops.
 */

const MAIN = fileURLToPath(new URL("../../gateway/main.ts", import.meta.url));

let testBus: TestBus;
let bus: Bus;
let gateway: Proc;
let url: string;
let healthPort: number;

function env(port = 0): Record<string, string> {
  return {
    TIERMESH_NATS_URL: testBus.url,
    TIERMESH_NATS_USER: testBus.user,
    TIERMESH_NATS_PASSWORD: testBus.pass,
    TIERMESH_GATEWAY_PORT: String(port),
    TIERMESH_SUPERVISED: "1",
    LOG_LEVEL: "info",
  };
}

async function ready(proc: Proc): Promise<{ port: number; health_port: number; process: string }> {
  const [line] = await proc.waitForLine(/^\{"ready":true.*$/, 20_000);
  return JSON.parse(line) as { port: number; health_port: number; process: string };
}

/** Asks until the answer is what is awaited; the test's own time limit ends it otherwise. */
async function healthBecomes(status: string): Promise<{ code: number; body: Record<string, unknown> }> {
  for (;;) {
    const response = await fetch(`${url}/health`);
    const body = (await response.json()) as Record<string, unknown>;
    if (body["status"] === status) return { code: response.status, body };
  }
}

beforeAll(async () => {
  testBus = await startTestBus();
  bus = await connectBus(
    "scripted-router",
    { url: testBus.url, user: testBus.user, password: testBus.pass },
    createLog("test", "silent"),
  );
  gateway = startProc(MAIN, { env: env() });
  const facts = await ready(gateway);
  expect(facts.process).toBe("gateway");
  url = `http://127.0.0.1:${facts.port}`;
  healthPort = facts.health_port;
});

afterAll(async () => {
  await gateway?.[Symbol.asyncDispose]();
  await bus?.drain();
  await testBus?.stop();
});

test("without a router the gateway says what is missing, and a request gets 503 at once or after its retries", async () => {
  const { code, body } = await healthBecomes("unavailable");
  expect([code, body["missing"]]).toEqual([503, ["router", "ready node"]]);
  const response = await fetch(`${url}/route`, {
    method: "POST",
    body: '{"task_type":"chat","security_level":"P2"}',
    headers: { "content-type": "application/json" },
  });
  expect([response.status, await response.json()]).toMatchObject([503, { error: { code: "no_router" } }]);
});

test("once a router announces itself the gateway is up, and a job crosses the bus with its class and deadline", async () => {
  await announceService(bus, "router", "scripted", []);
  const jobs: { job: Job; dataClass: string | undefined; queue: string }[] = [];
  const cancelled = Promise.withResolvers<string>();
  const asked = new Map<string, string>();
  bus.listen(bus.subjects.cancels, (msg) => {
    const id = lastToken(msg.subject);
    if (asked.get(id) === "forever") cancelled.resolve(id);
  });
  // Its policy wants nothing sealed.
  const unsealed = { ...TICKET_REPLY, sealed: false, ticket: null };
  bus.listen(bus.subjects.route, (msg) => respond(msg, unsealed), ROUTER_QUEUE_GROUP);
  bus.listen(
    bus.subjects.submits,
    (msg) => {
      const job = readBody(msg, JobRequest);
      const id = header(msg, HEADERS.job) ?? "";
      const text = JSON.stringify(job.messages?.[0]?.content).slice(1, -1);
      asked.set(id, text);
      jobs.push({ job, dataClass: header(msg, HEADERS.dataClass), queue: lastToken(msg.subject) });
      if (text === "busy")
        return respond(
          msg,
          ending({
            job_id: id,
            status: "refused",
            error: new MeshError("all_busy", "everybody is busy", { retryAfterMs: 700 }).toWire(),
          }),
        );
      const frames: StreamFrame[] = [{ ...ACCEPTED, job_id: id } as StreamFrame, { type: "delta", content: "Hel" }];
      if (text !== "forever") frames.push({ type: "delta", content: "lo" }, ending({ job_id: id }));
      for (const [seq, frame] of frames.entries()) {
        const headers = headersFor("shared");
        headers.set(HEADERS.seq, String(seq));
        msg.respond(encode(frame, "shared"), { headers });
      }
    },
    ROUTER_QUEUE_GROUP,
  );
  const { code, body } = await healthBecomes("degraded");
  expect([code, body["routers"], body["missing"]]).toEqual([200, 1, ["ready node"]]);
  expect((await fetch(`http://127.0.0.1:${healthPort}/health`)).status).toBe(200);

  const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
  const ask = (content: string) => ({ model: "auto", messages: [{ role: "user" as const, content }] });
  const whole = await openai.chat.completions.create(ask("hello"), {
    headers: { "Mesh-Class": "P1", "X-Request-Timeout-Ms": "9000" },
  });
  expect(whole.choices[0]?.message.content).toBe("Hello");
  expect(jobs[0]).toMatchObject({ dataClass: "P1", queue: "chat", job: { timeout_ms: 9000, security_level: "P1" } });
  expect(jobs[0]?.job.model).toBeUndefined();

  let text = "";
  for await (const chunk of await openai.chat.completions.create({ ...ask("hello"), stream: true }))
    text += chunk.choices[0]?.delta.content ?? "";
  expect(text).toBe("Hello");
  expect(jobs[1]?.dataClass).toBeUndefined();

  await expect(openai.chat.completions.create(ask("busy"))).rejects.toMatchObject({ status: 529, code: "all_busy" });

  for await (const chunk of await openai.chat.completions.create({ ...ask("forever"), stream: true }))
    if (chunk.choices[0]?.delta.content === "Hel") break;
  expect(asked.get(await cancelled.promise)).toBe("forever");
});

test("nothing of a prompt is in the log", () => {
  expect(gateway.errors.join("\n")).toContain("gateway listens");
  expect(gateway.errors.join("\n")).not.toMatch(/hello|forever/);
});

test("when the bus dies the gateway says so and stays, and when it is back the gateway serves again", async () => {
  await testBus.kill();
  const { code, body } = await healthBecomes("unavailable");
  expect([code, (body["missing"] as string[])[0]]).toEqual([503, "bus"]);
  await testBus.restart();
  expect((await healthBecomes("degraded")).code).toBe(200);
  const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
  const answer = await openai.chat.completions.create({
    model: "auto",
    messages: [{ role: "user", content: "hello" }],
  });
  expect(answer.choices[0]?.message.content).toBe("Hello");
});

test("a port that is taken is said by name and how to change it", async () => {
  const holder = createServer();
  await new Promise<void>((resolve) => holder.listen(0, "127.0.0.1", resolve));
  const { port } = holder.address() as AddressInfo;
  await using second = startProc(MAIN, { env: env(port) });
  await second.waitForLine(new RegExp(`127\\.0\\.0\\.1:${port} is in use; set TIERMESH_GATEWAY_PORT`), 20_000);
  expect((await second.exited).code).toBe(1);
  await new Promise((resolve) => holder.close(resolve));
});

test("a wrong setting stops the start with its variable's name", async () => {
  await using second = startProc(MAIN, { env: { ...env(), TIERMESH_GATEWAY_PORT: "http" } });
  await second.waitForLine(/TIERMESH_GATEWAY_PORT/, 20_000);
  expect((await second.exited).code).toBe(1);
});

test("when its supervisor is gone the gateway stops in order", async () => {
  gateway.endInput();
  expect(await gateway.exited).toEqual({ code: 0, signal: null });
});
