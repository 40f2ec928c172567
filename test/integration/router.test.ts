import path from "node:path";
import type { Msg } from "@nats-io/nats-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Decision, HEADERS, JobResult, MeshError, type JobRequestInput } from "../../bus-schemas/index.ts";
import { MeshClient } from "../../client/index.ts";
import { connectBus, type Bus, type BusAddress } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { ensureAuditStream } from "../../service/streams.ts";
import { startTestBus, type TestBus } from "../kit/bus.ts";
import { startProc, type Proc } from "../kit/proc.ts";
import { ScriptedAgent, type ScriptedJob } from "../kit/scripted-agent.ts";
import { waitFor } from "../kit/wait-for.ts";

const root = path.join(import.meta.dirname, "..", "..");
const log = createLog("test", "silent");
let server: TestBus;
let address: BusAddress;
let bus: Bus;
let router: Proc;

beforeAll(async () => {
  server = await startTestBus();
  address = { url: server.url, user: server.user, password: server.pass };
  bus = await connectBus("test", address, log);
  await ensureAuditStream(bus);
  router = await startRouter("one");
});
afterAll(async () => {
  router.kill("SIGKILL");
  await router.exited;
  await bus.drain();
  await server.stop();
});

async function startRouter(id: string, cell = "main"): Promise<Proc> {
  const proc = startProc(path.join(root, "router", "main.ts"), {
    env: {
      TIERMESH_NATS_URL: server.url,
      TIERMESH_NATS_USER: server.user,
      TIERMESH_NATS_PASSWORD: server.pass,
      TIERMESH_CELL: cell,
      TIERMESH_ROUTER_ID: id,
      ROUTING_CONFIG_PATH: path.join(root, "deploy", "routing.yaml"),
      LOG_LEVEL: "warn",
    },
  });
  await proc.waitForLine(/^\{"ready":true.*"process":"router"/, 30_000);
  return proc;
}

/** Submits as a foreign client does, to an inbox of its own; every answer that comes is kept. */
function submit(body: string, headers?: Msg["headers"]) {
  const inbox = `_INBOX.test.${crypto.randomUUID()}`;
  const answers: Msg[] = [];
  bus.nc.subscribe(inbox, { callback: (_error, msg) => void answers.push(msg) });
  bus.nc.publish(bus.subjects.submit("chat"), body, { reply: inbox, ...(headers === undefined ? {} : { headers }) });
  const result = async (count = 1) => {
    await waitFor(() => expect(answers.length).toBeGreaterThanOrEqual(count), { timeout: 10_000, interval: 5 });
    return JobResult.parse(answers.at(-1)?.json());
  };
  return { inbox, answers, result };
}

const jobFor = (model: string, rest: JobRequestInput = {}) =>
  JSON.stringify({ model, security_level: "P2", prompt: "hello", ...rest });

/** Waits until the routers know `model`: its node's heartbeat has come. */
async function known(model: string): Promise<void> {
  const look = async () => {
    const reply = await bus.nc.request(bus.subjects.route, JSON.stringify({ model, security_level: "P2" }));
    expect(Decision.parse(reply.json()).outcome).toBe("routed");
  };
  await waitFor(look, { timeout: 10_000, interval: 20 });
}

function echo(job: ScriptedJob): void {
  job.accept();
  job.end(`echo ${job.id}`);
}

test("the caller's own bytes reach the agent, and the agent's answer the caller's inbox", async () => {
  await using agent = await ScriptedAgent.start(address, "bytes-1", "bytes", echo);
  await known("bytes");
  const body = '{ "model":"bytes",\n "security_level" : "P1", "prompt":"你好 \\u00e9",  "unknown": [1.50] }';
  const { inbox, answers, result } = submit(body);
  expect(await result()).toMatchObject({ status: "finished", node_id: "bytes-1" });
  const [job] = agent.jobs;
  expect(new TextDecoder().decode(job?.msg.data)).toBe(body);
  expect(job?.msg.headers?.get(HEADERS.reply)).toBe(inbox);
  expect(job?.msg.subject).toBe("mesh.main.job.run.P1.bytes-1");
  expect(answers).toHaveLength(1);
});

test("a stream comes in order to the caller's inbox, the router says nothing in between", async () => {
  await using _agent = await ScriptedAgent.start(address, "stream-1", "stream", (job) => {
    job.accept();
    const about = { node_id: "stream-1", layer: "L1", model: "stream", security_level: "P2" };
    job.frame({ type: "accepted", job_id: job.id, ...about });
    for (const content of ["one ", "two ", "three"]) job.frame({ type: "delta", content });
    job.end("");
  });
  await known("stream");
  const { answers, result } = submit(jobFor("stream", { stream: true }));
  expect((await result(5)).status).toBe("finished");
  expect(answers.map((answer) => answer.headers?.get(HEADERS.seq))).toEqual(["0", "1", "2", "3", "4"]);
});

test("a refused job is picked again and answered by another node", async () => {
  let refused = 0;
  const refuse = (job: ScriptedJob) => {
    refused++;
    job.refuse(new MeshError("all_busy", "full"));
  };
  // Two of three refuse: whatever the order, retry_attempts 2 reaches the third.
  await using _a = await ScriptedAgent.start(address, "refuse-1", "refuse", refuse);
  await using _b = await ScriptedAgent.start(address, "refuse-2", "refuse", refuse);
  await using _c = await ScriptedAgent.start(address, "refuse-3", "refuse", echo, { cost_factor: 1000 });
  await known("refuse");
  await waitFor(async () => {
    const reply = await bus.nc.request(bus.subjects.route, jobFor("refuse"));
    expect(Decision.parse(reply.json()).alternatives).toHaveLength(2);
  });
  const { answers, result } = submit(jobFor("refuse"));
  expect(await result()).toMatchObject({ status: "finished", node_id: "refuse-3" });
  expect(refused).toBe(2);
  expect(answers).toHaveLength(1);
});

test("a node that nobody listens for costs one round trip, not a timeout; alone it is one clear error", async () => {
  await using _gone = await ScriptedAgent.start(address, "deaf-1", "deaf", echo, { listening: false });
  await known("deaf");
  const alone = await submit(jobFor("deaf")).result();
  expect(alone).toMatchObject({ status: "refused", error: { code: "node_lost", retryable: true } });
  await using _there = await ScriptedAgent.start(address, "deaf-2", "deaf", echo, { cost_factor: 1000 });
  await known("deaf");
  expect(await submit(jobFor("deaf")).result()).toMatchObject({ status: "finished", node_id: "deaf-2" });
});

test("an agent killed in the middle of a job: the caller gets one node_lost, later jobs go elsewhere", async () => {
  const accepted = Promise.withResolvers<void>();
  await using agent = await ScriptedAgent.start(address, "killed-1", "killed", (job) => {
    job.accept();
    accepted.resolve();
  });
  await known("killed");
  const { answers, result } = submit(jobFor("killed", { job_id: "killed-job-1" }));
  await accepted.promise;
  await agent.bus.nc.flush();
  await agent.kill();
  const next = await submit(jobFor("killed")).result();
  expect(next).toMatchObject({ status: "refused", error: { code: "node_lost" } });
  expect(await result()).toMatchObject({
    job_id: "killed-job-1",
    status: "failed",
    node_id: "killed-1",
    error: { code: "node_lost" },
  });
  await using _other = await ScriptedAgent.start(address, "killed-2", "killed", echo);
  await known("killed");
  expect((await submit(jobFor("killed")).result()).status).toBe("finished");
  expect(answers).toHaveLength(1);
});

test("garbage on the job subjects is answered, and the router goes on", async () => {
  await using _agent = await ScriptedAgent.start(address, "sane-1", "sane", echo);
  await known("sane");
  for (const body of ["", "{", "[]", "\u0000\u0001", '{"prompt":7}'])
    expect(await submit(body).result()).toMatchObject({ status: "refused", error: { code: "bad_request" } });
  const answer = await bus.nc.request(bus.subjects.route, "{");
  expect(answer.json()).toMatchObject({ error: { code: "bad_request" } });
  expect((await submit(jobFor("sane")).result()).status).toBe("finished");
});

test("a cold router decides rightly with its first job: it has listened for one heartbeat of everyone", async () => {
  const cold = { ...address, cell: "cold" };
  const coldBus = await connectBus("cold", cold, log);
  await using _a = await ScriptedAgent.start(cold, "cold-1", "cold", echo);
  await using _b = await ScriptedAgent.start(cold, "cold-2", "cold", echo);
  await using _router = await startRouter("cold", "cold");
  const reply = await coldBus.nc.request(coldBus.subjects.route, jobFor("cold"));
  const decision = Decision.parse(reply.json());
  expect(new Set([decision.node_id, decision.alternatives[0]?.node_id])).toEqual(new Set(["cold-1", "cold-2"]));
  await coldBus.drain();
});

test("two routers share the jobs; one is killed under load and no accepted job is lost", async () => {
  const JOBS = 400;
  router.kill();
  expect(await router.exited).toEqual({ code: 0, signal: null });
  await using first = await startRouter("first");
  await using _second = await startRouter("second");
  const perRouter = new Map<string, number>();
  const ran = new Set<string>();
  const script = (job: ScriptedJob) => {
    const via = job.msg.reply?.split(".")[4]?.split("-")[0] ?? "none";
    perRouter.set(via, (perRouter.get(via) ?? 0) + 1);
    ran.add(job.id);
    if (ran.size === JOBS / 2) first.kill("SIGKILL");
    echo(job);
  };
  await using _a = await ScriptedAgent.start(address, "pair-1", "pair", script);
  await using _b = await ScriptedAgent.start(address, "pair-2", "pair", script);
  await using client = await MeshClient.connect({ ...address, name: "load", log });
  await known("pair");
  let submitted = 0;
  const results: JobResult[] = [];
  const worker = async () => {
    while (submitted < JOBS) {
      const level = submitted % 2 === 0 ? "P1" : "P2";
      submitted++;
      results.push(await client.submit({ model: "pair", security_level: level, prompt: "x" }));
    }
  };
  await Promise.all(Array.from({ length: 20 }, worker));
  await first.exited;
  expect(results).toHaveLength(JOBS);
  expect(results.filter(({ status }) => status !== "finished")).toEqual([]);
  expect(new Set(results.map(({ job_id }) => job_id)).size).toBe(JOBS);
  expect(new Set(perRouter.keys())).toEqual(new Set(["first", "second"]));
  expect(Math.min(...perRouter.values())).toBeGreaterThan(JOBS / 20);
});
