import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { JobResult, type StreamFrame } from "../../bus-schemas/index.ts";
import { MeshClient } from "../../client/index.ts";
import { connectBus, type Bus, type BusAddress } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { ensureAuditStream } from "../../service/streams.ts";
import { startTestBus, type TestBus } from "../kit/bus.ts";
import { startProc, type Proc } from "../kit/proc.ts";
import { ScriptedAgent, type ScriptedJob } from "../kit/scripted-agent.ts";
import { waitFor } from "../kit/wait-for.ts";

/** Agents that take jobs and then do what no agent should: each job has one clear ending all the same. */

const root = path.join(import.meta.dirname, "..", "..");
const log = createLog("test", "silent");
const DEADLINE_MS = 1500;
/** What a router or client allows beyond the deadline, and some time for a busy machine, milliseconds. */
const GRACE_MS = 6000;
let server: TestBus;
let address: BusAddress;
let bus: Bus;
let client: MeshClient;
let router: Proc;
const endings: { job_id: string; status: string }[] = [];

beforeAll(async () => {
  server = await startTestBus();
  address = { url: server.url, user: server.user, password: server.pass };
  bus = await connectBus("test", address, log);
  await ensureAuditStream(bus);
  bus.listen(bus.subjects.events, (msg) => {
    if (msg.subject.includes(".job_ended.")) endings.push(msg.json());
  });
  client = await MeshClient.connect({ ...address, log });
  router = startProc(path.join(root, "router", "main.ts"), {
    env: {
      TIERMESH_NATS_URL: server.url,
      TIERMESH_NATS_USER: server.user,
      TIERMESH_NATS_PASSWORD: server.pass,
      TIERMESH_ROUTER_ID: "one",
      ROUTING_CONFIG_PATH: path.join(root, "deploy", "routing.yaml"),
      LOG_LEVEL: "warn",
    },
  });
  await router.waitForLine(/^\{"ready":true.*"process":"router"/, 30_000);
});
afterAll(async () => {
  router.kill("SIGKILL");
  await router.exited;
  await client.close();
  await bus.drain();
  await server.stop();
});

/** An agent of that script, known to the router. */
async function agentOf(model: string, script: (job: ScriptedJob) => void): Promise<ScriptedAgent> {
  const agent = await ScriptedAgent.start(address, `${model}-node`, model, script);
  await waitFor(async () => expect((await client.decide({ model, security_level: "P2" })).outcome).toBe("routed"), {
    timeout: 10_000,
    interval: 20,
  });
  return agent;
}

const request = (model: string) => ({ model, security_level: "P2", prompt: "hello", timeout_ms: DEADLINE_MS }) as const;

async function streamed(model: string): Promise<StreamFrame[]> {
  const frames: StreamFrame[] = [];
  for await (const frame of client.stream(request(model))) frames.push(frame);
  expect(frames.filter(({ type }) => type === "end")).toHaveLength(1);
  return frames;
}

/** By hand, one request; resolves with all that came within the time. */
async function byHand(model: string, wait: (results: readonly JobResult[]) => void): Promise<JobResult[]> {
  const results: JobResult[] = [];
  const inbox = `_INBOX.test.${crypto.randomUUID()}`;
  bus.nc.subscribe(inbox, { callback: (_error, msg) => void results.push(JobResult.parse(msg.json())) });
  bus.nc.publish(bus.subjects.submit("chat"), JSON.stringify(request(model)), { reply: inbox });
  await waitFor(() => wait(results), { timeout: DEADLINE_MS + GRACE_MS, interval: 20 });
  return results;
}

const accept = (job: ScriptedJob, model: string) => {
  job.accept();
  job.frame({
    type: "accepted",
    job_id: job.id,
    node_id: `${model}-node`,
    layer: "L1",
    model,
    security_level: "P2",
  });
};

test("one that takes a job and never says anything: expired for who asked by hand, told by the router, once on record", async () => {
  await using agent = await agentOf("mute", (job) => job.accept());
  const [result] = await byHand("mute", (results) => expect(results).toHaveLength(1));
  expect(result).toMatchObject({ status: "expired", node_id: "mute-node", error: { code: "deadline_exceeded" } });
  const jobId = agent.jobs[0]?.id;
  await waitFor(() => expect(endings.filter(({ job_id: id }) => id === jobId)).toMatchObject([{ status: "expired" }]));
});

test("one that takes a stream and never says anything: one end, at the deadline", async () => {
  await using _agent = await agentOf("mute-stream", (job) => job.accept());
  expect((await streamed("mute-stream")).at(-1)).toMatchObject({ status: "expired" });
});

test("one that answers twice: the first answer is the answer", async () => {
  await using agent = await agentOf("twice", (job) => {
    accept(job, "twice");
    job.frame({ type: "delta", content: "one" });
    job.end("");
    job.frame({ type: "delta", content: "two" });
    job.end("");
  });
  const frames = await streamed("twice");
  expect(frames.filter((frame) => frame.type === "delta").map(({ content }) => content)).toEqual(["one"]);
  expect(frames.at(-1)).toMatchObject({ status: "finished" });
  expect(agent.jobs).toHaveLength(1);
});

test("one that answers after the deadline: the job has ended by then, and the answer is unheard", async () => {
  const late = Promise.withResolvers<ScriptedJob>();
  await using _agent = await agentOf("late", (job) => {
    accept(job, "late");
    job.frame({ type: "delta", content: "one" });
    late.resolve(job);
  });
  const frames = await streamed("late");
  (await late.promise).end("too late");
  await bus.nc.flush();
  expect(frames.at(-1)).toMatchObject({ status: "expired", error: { code: "deadline_exceeded" } });
});

test("one that streams for ever: the stream ends at its deadline", async () => {
  const stop = new AbortController();
  await using _agent = await agentOf("endless", (job) => {
    accept(job, "endless");
    const timer = setInterval(() => job.frame({ type: "delta", content: "more " }), 5);
    stop.signal.addEventListener("abort", () => clearInterval(timer));
  });
  const startMs = performance.now();
  const frames = await streamed("endless");
  stop.abort();
  expect(frames.at(-1)).toMatchObject({ status: "expired" });
  expect(performance.now() - startMs).toBeLessThan(DEADLINE_MS + GRACE_MS);
});
