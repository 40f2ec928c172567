import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { HEADERS, JobResult, type DataClass, type NodeRecord, type StreamFrame } from "../../bus-schemas/index.ts";
import { MeshClient } from "../../client/index.ts";
import { eventually, startMesh, type TestMesh } from "../kit/mesh.ts";
import {
  ANTHROPIC_HELLO,
  OPENAI_ERRORS,
  OPENAI_HELLO,
  startProvider,
  type FakeProvider,
} from "../kit/provider-servers.ts";
import { RawNats } from "../kit/raw-nats.ts";
import { CHAT, HELLO, startServer, type TestServer } from "../kit/runtime-servers.ts";
import { tempDir } from "../kit/temp-dir.ts";

/**
 * A whole mesh as `tiermesh up --providers` starts it: its L0 node with a local runtime, and its egress node with two fake
 * clouds. The policy prefers the cloud, so that what stays at home stays there for its class alone.
 */

const KEY = "sk-integration-secret-0123456789";
const SECRET = "the-core-secret-of-the-house";
const NODE = "here-egress";
const folder = tempDir();
let local: TestServer;
let openai: FakeProvider;
let anthropic: FakeProvider;
let mesh: TestMesh;
let client: MeshClient;
let spy: RawNats;

const providersFile = path.join(folder.path, "providers.yaml");
const providers = () => `providers:
  - {name: cloud-a, kind: openai, base_url: "${openai.url}/v1", key_env: CLOUD_A_KEY, currency: CNY, jurisdiction: SG,
     models: [{name: cloud-only, upstream: big-1, context_length: 100000, price_per_1k_input: 0.01, price_per_1k_output: 0.02},
              {name: shared, upstream: big-2, context_length: 100000}]}
  - {name: cloud-b, kind: anthropic, base_url: "${anthropic.url}", key_file: key-b, models: [{name: claude, upstream: claude-x}]}
`;

beforeAll(async () => {
  [openai, anthropic] = await Promise.all([startProvider(OPENAI_HELLO), startProvider(ANTHROPIC_HELLO)]);
  local = await startServer({
    "GET /v1/models": { object: "list", data: [{ id: "shared", object: "model" }] },
    [CHAT]: HELLO,
  });
  const policy = path.join(folder.path, "routing.yaml");
  writeFileSync(policy, "routing_policy:\n  defaults:\n    fallback_order: [L2, L0, L1]\n");
  writeFileSync(path.join(folder.path, "key-b"), `${KEY}-b\n`, { mode: 0o600 });
  writeFileSync(providersFile, providers());
  mesh = await startMesh(
    {
      ROUTING_CONFIG_PATH: policy,
      CLOUD_A_KEY: KEY,
      TIERMESH_RUNTIMES: local.url,
      TIERMESH_LOOPBACK: "false",
      LOG_LEVEL: "DEBUG",
    },
    ["--providers", providersFile],
    { openBus: true },
  );
  spy = await RawNats.open(mesh.busPort, mesh.tools);
  spy.subscribe("mesh.main.>");
  spy.subscribe("_INBOX.>");
  client = await MeshClient.connect(mesh.address);
  const limit = AbortSignal.timeout(30_000);
  await client.nodes.ready(({ node_id, models }) => node_id === NODE && models.includes("claude"), limit);
  await client.nodes.ready(({ layer, models }) => layer === "L0" && models.includes("shared"), limit);
});
afterAll(async () => {
  await client?.close();
  await spy?.[Symbol.asyncDispose]();
  await mesh?.[Symbol.asyncDispose]();
  await Promise.all([
    openai?.[Symbol.asyncDispose](),
    anthropic?.[Symbol.asyncDispose](),
    local?.close(),
    folder.remove(),
  ]);
});

const submit = (dataClass: DataClass, model: string | undefined, prompt = SECRET) =>
  client.submit({ prompt, ...(model === undefined ? {} : { model }) }, { dataClass });

async function cloudRecord(): Promise<NodeRecord> {
  const { out } = await mesh.run("nodes", "--json");
  const record = (JSON.parse(out) as NodeRecord[]).find(({ node_id }) => node_id === NODE);
  if (record === undefined) throw new Error("no egress node");
  return record;
}

test("the egress node is an L2 node with the providers of the file, and neither local runtimes nor keys", async () => {
  const record = await cloudRecord();
  expect(record).toMatchObject({ layer: "L2", status: "healthy", cost_factor: 1 });
  expect(new Set(record.models)).toEqual(new Set(["claude", "cloud-only", "shared"]));
  expect(record.runtimes).toMatchObject([
    { name: "cloud-a", kind: "openai", healthy: true, slots: 8 },
    { name: "cloud-b", kind: "anthropic", healthy: true },
  ]);
  expect(mesh.file().processes.map(({ name }) => name)).toContain("egress");
});

test("P0 and P1 never reach a cloud, though the policy prefers it: not one connection, not one byte", async () => {
  for (const dataClass of ["P0", "P1"] as const) {
    for (const model of [undefined, "shared"])
      expect(await submit(dataClass, model)).toMatchObject({
        status: "finished",
        layer: "L0",
        security_level: dataClass,
      });
    for (const model of ["cloud-only", "claude"])
      expect(await submit(dataClass, model)).toMatchObject({ status: "refused", node_id: null });
  }
  expect((await submit("P1", "cloud-only")).error).toMatchObject({ code: "anonymiser_required", retryable: false });
  expect((await submit("P0", "cloud-only")).error?.code).not.toBe("anonymiser_required");
  expect([openai.bytesIn(), anthropic.bytesIn(), openai.requests, anthropic.requests]).toEqual([0, 0, [], []]);
});

test("jobs that are forged past the router are refused by the egress node itself, by the strictest of their words", async () => {
  let jobs = 0;
  const forge = (subjectClass: string, headerClass: string, body: object) => {
    const id = `forged-job-${++jobs}`;
    const headers = {
      [HEADERS.job]: id,
      [HEADERS.dataClass]: headerClass,
      [HEADERS.deadline]: String(Date.now() + 10_000),
      [HEADERS.reply]: `_INBOX.forged.answer${jobs}`,
      [HEADERS.model]: "cloud-only",
      [HEADERS.contentType]: "application/json",
    };
    const inbox = `_INBOX.forged.verdict${jobs}`;
    spy.publish(
      `mesh.main.job.run.${subjectClass}.${NODE}`,
      JSON.stringify({ prompt: SECRET, ...body }),
      inbox,
      headers,
    );
    return inbox;
  };
  const code = async (...args: Parameters<typeof forge>) => {
    const inbox = forge(...args);
    const { body } = await spy.next(({ subject }) => subject === inbox);
    // Verdicts are msgpack with shared structures; a code is plain text in it.
    return ["anonymiser_required", "forbidden", "bad_request", "accepted"].find((word) => body.includes(word));
  };
  expect(await code("P2", "P2", { security_level: "P0" })).toBe("forbidden");
  expect(await code("P2", "P2", { security_level: "P1" })).toBe("anonymiser_required");
  expect(await code("P2", "P0", { security_level: "P2" })).toBe("forbidden");
  expect(await code("P2", "P1", {})).toBe("anonymiser_required");
  expect(await code("P2", "P2", { security_level: "p0" })).toBe("forbidden");
  expect(await code("P2", "P2 ", { security_level: "P0" })).toBe("forbidden");
  // On P0's and P1's subjects it does not even listen: a later job is answered, these never.
  const unheard = ["P0", "P1"].map((subjectClass) => forge(subjectClass, subjectClass, {}));
  expect(await code("P2", "P0", {})).toBe("forbidden");
  expect(spy.messages.filter(({ subject }) => unheard.includes(subject))).toEqual([]);
  expect([openai.bytesIn(), anthropic.bytesIn()]).toEqual([0, 0]);
});

test("a P2 job reaches its cloud, streams back with usage, and its cost is on record", async () => {
  const frames: StreamFrame[] = [];
  const request = {
    messages: [{ role: "user" as const, content: "general question" }],
    model: "cloud-only",
    max_tokens: 64,
  };
  for await (const frame of client.stream(request, { dataClass: "P2" })) frames.push(frame);
  expect(frames[0]).toMatchObject({ type: "accepted", node_id: NODE, layer: "L2", model: "cloud-only" });
  expect(frames.flatMap((frame) => (frame.type === "delta" ? [frame.content] : []))).toEqual([
    "Hello",
    " from the cloud",
  ]);
  const end = JobResult.parse(frames.at(-1));
  expect(end).toMatchObject({
    status: "finished",
    layer: "L2",
    usage: { prompt_tokens: 1000, completion_tokens: 500 },
  });
  expect(openai.requests).toHaveLength(1);
  expect(openai.requests[0]).toMatchObject({
    path: "/v1/chat/completions",
    headers: { authorization: `Bearer ${KEY}` },
    json: { model: "big-1", max_tokens: 64, stream: true, messages: [{ content: "general question" }] },
  });
  const ended = await spy.next(
    ({ subject, body }) => subject === `mesh.main.event.job_ended.P2.agent.${NODE}` && body.includes(end.job_id),
  );
  expect(JSON.parse(ended.body)).toMatchObject({
    usage: { prompt_tokens: 1000 },
    cost: { amount: 0.02, currency: "CNY" },
    commitments: { salt_from: "node" },
  });
  // From the log alone, and what went over the provider's line: that it was this, to the byte.
  const salt = path.join(folder.path, "salt");
  const body = path.join(folder.path, "request");
  writeFileSync(salt, end.commitment_salt ?? "");
  writeFileSync(body, openai.requests[0]?.text ?? "");
  const compared = async () => {
    const { out } = await mesh.run("audit", "compare", end.job_id, body, "--salt-file", salt, "--json");
    return out.includes('"egress_hmac"');
  };
  await eventually("the request to the provider, known again in the record", compared);
  const story = await mesh.run("audit", "trace", end.job_id);
  expect(story.out).toContain("model cloud-only, a cloud, SG");
  expect(await submit("P2", "claude", "hi")).toMatchObject({ status: "finished", message: { content: "Hello!" } });
  expect(anthropic.requests[0]?.headers["x-api-key"]).toBe(`${KEY}-b`);
});

test("a cloud that is full: its job and the next ones go elsewhere or are refused, and the heartbeat says so", async () => {
  openai.behave = OPENAI_ERRORS.rateLimit({ "retry-after": "600" });
  const before = openai.requests.length;
  const first = await submit("P2", "shared", "general");
  expect(first).toMatchObject({ status: "finished", layer: "L0", node_id: "here" });
  const record = await eventually("an unhealthy provider in the heartbeat", async () => {
    const now = await cloudRecord();
    return now.runtimes.some(({ healthy }) => !healthy) && now;
  });
  expect(record.runtimes).toMatchObject([
    { name: "cloud-a", healthy: false, status_reason: expect.stringContaining("HTTP 429: too many requests") },
    { name: "cloud-b", healthy: true },
  ]);
  expect(await submit("P2", "shared", "general")).toMatchObject({ status: "finished", layer: "L0", node_id: "here" });
  expect((await submit("P2", "cloud-only", "general")).status).toBe("refused");
  expect(openai.requests.length - before).toBe(1);
});

test("a new key file brings a refused provider back without a restart; a bad providers file changes nothing and is told", async () => {
  anthropic.behave = OPENAI_ERRORS.badKey;
  // Handed back by the node, and no other serves it.
  expect((await submit("P2", "claude", "general")).error).toMatchObject({ code: "no_node", retryable: true });
  const cloudB = async () => (await cloudRecord()).runtimes.find(({ name }) => name === "cloud-b");
  await eventually("cloud-b out", async () => (await cloudB())?.status_reason?.includes("HTTP 401"));
  anthropic.behave = ANTHROPIC_HELLO;
  writeFileSync(path.join(folder.path, "key-b"), `${KEY}-new\n`);
  await eventually("cloud-b back", async () => (await cloudB())?.healthy);
  expect(await submit("P2", "claude", "general")).toMatchObject({ status: "finished" });
  expect(anthropic.requests.at(-1)?.headers["x-api-key"]).toBe(`${KEY}-new`);
  writeFileSync(providersFile, providers().replace("key_file: key-b", `api_key: ${KEY}`));
  const port = mesh.file().processes.find(({ name }) => name === "egress")?.health_port;
  const problem = await eventually("the problem in /health", async () => {
    const text = await (await fetch(`http://127.0.0.1:${port}/health`)).text();
    return text.includes("keys do not belong") && text;
  });
  expect(problem).not.toContain(KEY);
  expect(await submit("P2", "claude", "general")).toMatchObject({ status: "finished" });
});

test("no key is in any message on the bus, any log, any state, or another process's environment", async () => {
  const everywhere = [
    ...spy.messages.map(({ headers, body }) => headers + body),
    ...mesh.texts("logs"),
    ...mesh.texts("."),
    ...mesh.proc.lines,
    ...mesh.proc.errors,
  ];
  expect(spy.messages.length).toBeGreaterThan(20);
  expect(everywhere.some((text) => text.includes(KEY))).toBe(false);
  if (process.platform !== "linux") return;
  const holders = mesh.pids().filter((pid) => readFileSync(`/proc/${pid}/environ`, "latin1").includes(KEY));
  // What a process was started with stays readable there: `up` itself, and the one process that needs it.
  expect(new Set(holders)).toEqual(new Set([mesh.proc.pid, mesh.pid("egress")]));
});
