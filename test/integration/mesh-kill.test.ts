import { setTimeout as pause } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ERROR_CODES, JobResult, type ErrorCode } from "../../bus-schemas/index.ts";
import { MeshClient } from "../../client/index.ts";
import { connectBus, type Bus } from "../../service/bus.ts";
import { newId } from "../../service/ids.ts";
import { createLog } from "../../service/log.ts";
import { eventually, startMesh, type TestMesh } from "../kit/mesh.ts";
import { CHAT, deltaEvent, event, startServer, type TestServer } from "../kit/runtime-servers.ts";
import { SURFACES } from "../kit/runtime-surfaces.ts";

/** Every job is to end within this time, milliseconds: its own timeout, and the grace that a client gives the node. */
const JOB_LIMIT_MS = 10_000;
const GRACE_MS = 1500;
/** Rest of a worker between two jobs, milliseconds: a load that two busy cores can bear. */
const REST_MS = 50;
const PIECES = 6;
const PIECE_EVERY_MS = 20;

type Way = "client" | "http" | "foreign";

interface Ended {
  way: Way;
  jobId: string | undefined;
  startMs: number;
  endMs: number;
  /** "answer", or the code of the one error. */
  how: string;
  /** How many endings the caller saw: one, or for a foreign client whose router or bus died, none. */
  endings: number;
}

let mesh: TestMesh;
let runtime: TestServer;
let client: MeshClient;
let foreign: Bus;
const ended: Ended[] = [];
const replies = new Map<string, number>();
const stop = new AbortController();
let workers: Promise<void>[] = [];

beforeAll(async () => {
  const surface = SURFACES.find(({ kind }) => kind === "llama-server");
  if (surface === undefined) throw new Error("no such surface");
  const props = { ...(surface.routes["GET /props"] as object), total_slots: 16 };
  runtime = await startServer({ ...surface.routes, "GET /props": props, [CHAT]: slowAnswer }, surface.headers);
  mesh = await startMesh({ TIERMESH_LOOPBACK: "false", TIERMESH_RUNTIMES: runtime.url }, ["--routers", "2"]);
  client = await MeshClient.connect({ ...mesh.address, log: createLog("test", "silent") });
  foreign = await connectBus("foreign", mesh.address, createLog("test", "silent"));
  foreign.listen(`${foreign.inbox}.*`, (msg) => {
    if (msg.headers?.code === 503) return;
    const id = msg.subject.slice(foreign.inbox.length + 1);
    replies.set(id, (replies.get(id) ?? 0) + 1);
    answers.get(id)?.(JobResult.parse(msg.json()));
  });
  const ways: Way[] = ["client", "client", "client", "client", "http", "http", "foreign"];
  workers = ways.map((way) => worker(way));
});
afterAll(async () => {
  stop.abort();
  await Promise.allSettled(workers);
  await client.close();
  await foreign.drain();
  await mesh[Symbol.asyncDispose]();
  await runtime.close();
});

const answers = new Map<string, (result: JobResult) => void>();

/** A model that takes its time: kills find jobs in the middle of their answers. */
function slowAnswer(_request: unknown, response: import("node:http").ServerResponse): void {
  response.writeHead(200, { "content-type": "text/event-stream" });
  let sent = 0;
  const timer = setInterval(() => {
    if (sent++ < PIECES) return void response.write(deltaEvent({ content: `piece ${sent} ` }));
    clearInterval(timer);
    response.end(deltaEvent({}, "stop") + event("[DONE]"));
  }, PIECE_EVERY_MS);
  response.on("close", () => clearInterval(timer));
}

async function worker(way: Way): Promise<void> {
  for (let turn = 0; !stop.signal.aborted; turn++) {
    const startMs = performance.now();
    const level = turn % 2 === 0 ? "P0" : "P2";
    const { how, jobId, endings } = await { client: byClient, http: byHttp, foreign: byHand }[way](level, turn);
    ended.push({ way, jobId, startMs, endMs: performance.now(), how, endings });
    await pause(REST_MS);
  }
}

type OneJob = Promise<{ how: string; jobId: string | undefined; endings: number }>;

async function byClient(level: string): OneJob {
  const jobId = newId();
  let endings = 0;
  let how = "";
  let text = "";
  const request = { job_id: jobId, prompt: "Hi", security_level: level, timeout_ms: JOB_LIMIT_MS };
  for await (const frame of client.stream(request)) {
    expect(endings).toBe(0);
    if (frame.type === "delta") text += frame.content ?? "";
    if (frame.type !== "end") continue;
    endings++;
    how = frame.status === "finished" ? "answer" : (frame.error?.code ?? "no error");
  }
  // A finished answer is whole: nothing of it was lost on the way.
  if (how === "answer") expect(text.match(/piece \d/g)).toHaveLength(PIECES);
  return { how, jobId, endings };
}

async function byHttp(level: string, turn: number): OneJob {
  const stream = turn % 4 < 2;
  try {
    const response = await fetch(`${mesh.gatewayUrl}/v1/chat/completions`, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        "Mesh-Class": level,
        "X-Request-Timeout-Ms": String(JOB_LIMIT_MS),
      },
      body: JSON.stringify({ model: "auto", stream, messages: [{ role: "user", content: "Hi" }] }),
      signal: AbortSignal.timeout(JOB_LIMIT_MS + GRACE_MS),
    });
    const body = await response.text();
    const jobId = response.headers.get("x-tiermesh-job") ?? undefined;
    const error = /"code":"(\w+)"/.exec(body)?.[1];
    const done = response.ok && (stream ? body.includes("data: [DONE]") : body.includes('"finish_reason":"stop"'));
    const endings = (done ? 1 : 0) + (error === undefined ? 0 : 1);
    return { how: done ? "answer" : (error ?? "nothing"), jobId, endings };
  } catch (error) {
    // The gateway itself was killed: TCP tells the caller at once.
    const { name, cause } = error as { name: string; cause?: { code?: string } };
    return { how: name === "TimeoutError" ? "silence" : `tcp ${cause?.code ?? name}`, jobId: undefined, endings: 1 };
  }
}

/** As the nats CLI does it: one request, one reply, no second try. */
async function byHand(level: string): OneJob {
  const id = newId();
  const reply = Promise.withResolvers<JobResult>();
  answers.set(id, reply.resolve);
  // P0 goes sealed only, which nobody does by hand.
  const job = { job_id: id, prompt: "Hi", security_level: level === "P0" ? "P1" : level, timeout_ms: 3000 };
  foreign.nc.publish(foreign.subjects.submit("chat"), JSON.stringify(job), { reply: `${foreign.inbox}.${id}` });
  const result = await Promise.race([reply.promise, pause(3000 + GRACE_MS)]);
  answers.delete(id);
  const how = result === undefined ? "silence" : (result.error?.code ?? "answer");
  return { how, jobId: id, endings: result === undefined ? 0 : 1 };
}

const table: string[] = [];
/** From the broker's death until its return. */
const brokerAway = { fromMs: Infinity, untilMs: -Infinity };

const ROUTERS = ["router-1", "router-2"];

test.each([
  ["one of two routers", ["router-1"]],
  ["both routers", ROUTERS],
  ["the agent", ["agent"]],
  ["the auditor", ["auditor"]],
  ["the gateway", ["gateway"]],
  ["the nats-server", ["nats-server"]],
])("kill -9 of %s under load: every job has one ending, and the mesh is whole again", async (what, parts) => {
  const before = ended.length;
  await eventually("a steady load", () => answered(ended.slice(before)).length >= 15);
  const pids = parts.map((part) => mesh.pid(part));
  const killedMs = performance.now();
  for (const pid of pids) process.kill(pid, "SIGKILL");
  for (const [i, part] of parts.entries()) await eventually(`a new ${part}`, () => isBack(part, pids[i] ?? 0));
  const backMs = performance.now();
  if (parts.includes("nats-server")) Object.assign(brokerAway, { fromMs: killedMs, untilMs: backMs });
  // Each way in serves again, for jobs that began after the return.
  for (const way of ["client", "http", "foreign"] as const)
    await eventually(`${way} served again`, () =>
      answered(ended).some((job) => job.way === way && job.startMs > backMs),
    );
  const touched = ended.filter((job) => job.endMs > killedMs);
  const codes = Object.entries(Object.groupBy(touched, ({ how }) => how)).map(
    ([how, jobs]) => `${how} ${jobs?.length}`,
  );
  const first = Math.min(
    ...answered(touched)
      .filter((job) => job.startMs > killedMs)
      .map(({ endMs }) => endMs),
  );
  const ms = (untilMs: number) => (untilMs - killedMs).toFixed(0).padStart(5);
  table.push(
    `${what.padEnd(18)} back after ${ms(backMs)} ms, first new answer after ${ms(first)} ms; ${codes.join(", ")}`,
  );
  expect(touched.map((job) => wrongWith(job, parts)).filter((wrong) => wrong !== undefined)).toEqual([]);
  // The supervisor has complained of nothing but the bus's absence (pino: 50 is an error).
  expect(mesh.proc.errors.filter((line) => (JSON.parse(line) as { level: number }).level >= 50)).toEqual([]);
});

test("after all that the audit log holds what the stream acknowledged, and every ending once", async () => {
  stop.abort();
  await Promise.all(workers);
  process.stderr.write(`${ended.length} jobs\n${table.join("\n")}\n`);
  // Nothing comes late: every caller has had exactly one word.
  for (const [id, count] of replies) expect([id, count]).toEqual([id, 1]);
  const manager = await jetstreamManager(foreign.nc);
  const events = await eventually("the auditor to have caught up", async () => {
    const { state } = await manager.streams.info("AUDIT", { subjects_filter: CANARIES });
    const { ack_floor: floor } = await manager.consumers.info("AUDIT", "auditor");
    const lines = mesh.texts("audit").flatMap((text) => text.split("\n"));
    const found = lines.filter((line) => line.startsWith('{"sequence"')).map((line) => JSON.parse(line) as LogLine);
    // All but the canaries, which are no entries of the log.
    const due = state.messages - Object.values(state.subjects ?? {}).reduce((sum, count) => sum + count, 0);
    return floor.stream_seq === state.last_seq && found.length === due && found;
  });
  const positions = events.map(({ stream_sequence: at }) => at);
  expect(positions).toEqual([...new Set(positions)].toSorted((a, b) => a - b));
  expect(new Set(events.map(({ id }) => id)).size).toBe(events.length);
  for (const { id, stream_sequence: seq } of events)
    expect((await manager.streams.getMessage("AUDIT", { seq }))?.header.get("ce-id")).toBe(id);
  const endings = events.filter(({ type }) => type === "job_ended");
  const byJob = Map.groupBy(endings, ({ data }) => data.job_id);
  const twice = [...byJob.values()].filter((all) => all.length > 1).flat();
  const told = twice.map(({ data, source }) => `${data.job_id} ${source} ${data.status} ${JSON.stringify(data.error)}`);
  // When the broker dies between a node's acceptance and the caller's hearing of it, the caller asks again: the job runs
  // twice, its caller has one answer, and the record says both. There is no other way to two endings.
  const inItsHands = ended.filter(({ startMs, endMs }) => startMs < brokerAway.untilMs && endMs > brokerAway.fromMs);
  const known = new Set(inItsHands.map(({ jobId }) => jobId));
  expect(told.filter((line) => !known.has(line.split(" ", 1)[0]))).toEqual([]);
  const finished = new Set(endings.filter(({ data }) => data.status === "finished").map(({ data }) => data.job_id));
  const unrecorded = answered(ended).filter(({ jobId }) => !finished.has(jobId ?? ""));
  expect(unrecorded).toEqual([]);
  const decided = new Set(events.filter(({ type }) => type === "job_decided").map(({ data }) => data.job_id));
  // What was sent away while it waited for a place was never decided.
  const sentAway = new Set(
    endings.filter(({ data }) => JSON.stringify(data.error).includes('"rate_limited"')).map(({ data }) => data.job_id),
  );
  expect([...byJob.keys()].filter((jobId) => !decided.has(jobId) && !sentAway.has(jobId))).toEqual([]);
  const restarts = events.filter(({ type, data }) => type === "process_started" && (data.restarts ?? 0) > 0);
  expect(restarts.map(({ data }) => data.process)).toEqual(
    expect.arrayContaining(["router-1", "router-2", "router-1", "agent", "auditor", "gateway"]),
  );
  expect(restarts).toHaveLength(6);
});

/** Events by which the auditor tries whether events come into the log. */
const CANARIES = "mesh.main.event.canary.>";

interface LogLine {
  stream_sequence: number;
  id: string;
  source: string;
  type: string;
  data: { error?: unknown; job_id: string; status?: string; process?: string; restarts?: number };
}

function answered(jobs: readonly Ended[]): Ended[] {
  return jobs.filter(({ how }) => how === "answer");
}

function isBack(part: string, oldPid: number): boolean {
  try {
    const pid = mesh.pid(part);
    if (part === "nats-server") return pid !== oldPid && pid > 0;
    return pid !== oldPid && mesh.file().processes.find(({ name }) => name === part)?.state === "ready";
  } catch {
    return false;
  }
}

/** What is not as promised about a job that ran while `killed` died. */
function wrongWith(job: Ended, killed: readonly string[]): string | undefined {
  const { way, how, endings } = job;
  const tookMs = job.endMs - job.startMs;
  const what = `${way}: ${how}, ${endings} endings, ${tookMs.toFixed(0)} ms`;
  if (tookMs > JOB_LIMIT_MS + GRACE_MS) return what;
  const router = killed.some((part) => ROUTERS.includes(part));
  // A foreign client submits once: when its router or the broker dies with the job in hand, only its own timeout tells.
  if (way === "foreign" && how === "silence" && (router || killed.includes("nats-server"))) return undefined;
  if (endings !== 1) return what;
  if (how === "answer") return undefined;
  // While another router is there, nobody notices; the auditor is in nobody's way.
  if (["router-1", "auditor"].includes(killed.join())) return what;
  if (how.startsWith("tcp ")) return killed.join() === "gateway" ? undefined : what;
  return Object.hasOwn(ERROR_CODES, how) && ERROR_CODES[how as ErrorCode].retryable ? undefined : what;
}
