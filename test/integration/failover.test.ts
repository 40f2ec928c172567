import { afterAll, beforeAll, expect, test } from "vitest";
import { JobResult, type Commitments, type StreamFrame } from "../../bus-schemas/index.ts";
import { connectBus, type Bus } from "../../service/bus.ts";
import { commitment } from "../../service/commitment.ts";
import { createLog } from "../../service/log.ts";
import { SHARED_MODEL, answerOf, startFailoverMesh, type FailoverMesh, type Machine } from "../kit/failover-mesh.ts";
import { eventually } from "../kit/mesh.ts";

/** A whole mesh with machines of its own that die, stop and hang under jobs. */

const WORDS = 60;
let mesh: FailoverMesh;
let operator: Bus;
const endings = new Map<string, string[]>();
const hops = new Map<string, string[]>();
const gone: string[] = [];
/** By job: what the node that ended it commits to. */
const committed = new Map<string, Commitments>();

beforeAll(async () => {
  mesh = await startFailoverMesh(["node-a", "node-b", "node-c"], ["--routers", "3"]);
  operator = await connectBus("operator", mesh.mesh.address, createLog("test", "silent"));
  const note = (map: Map<string, string[]>, id: string, what: string) => map.set(id, [...(map.get(id) ?? []), what]);
  operator.listen(operator.subjects.events, (msg) => {
    const { job_id: id, status, from_node_id: from } = msg.json<Record<string, string>>();
    if (msg.subject.includes(".job_ended.")) note(endings, id ?? "", status ?? "");
    const { commitments } = msg.json<{ commitments?: Commitments }>();
    if (commitments !== undefined) committed.set(id ?? "", commitments);
    if (msg.subject.includes(".job_redispatched.")) note(hops, id ?? "", from ?? "");
  });
  operator.listen(operator.subjects.nodesGone, (msg) => void gone.push(msg.json<{ node_id: string }>().node_id));
  await operator.nc.flush();
});
afterAll(async () => {
  await operator.drain();
  await mesh[Symbol.asyncDispose]();
});

const prompt = (first: number, words = WORDS) => `words=${words} every=10 first=${first}`;

interface Told {
  jobId: string;
  nodes: string[];
  text: string;
  ends: StreamFrame[];
}

/** Runs a stream, and strikes the machine that has it: at acceptance, or after some pieces. */
async function struck(level: string, when: "before" | "in", strike: (machine: Machine) => void): Promise<Told> {
  const told: Told = { jobId: "", nodes: [], text: "", ends: [] };
  let pieces = 0;
  let done = false;
  const request = { prompt: prompt(200), model: SHARED_MODEL, security_level: level, timeout_ms: 40_000 };
  for await (const frame of mesh.client.stream(request)) {
    if (frame.type === "accepted") {
      told.jobId = frame.job_id;
      told.nodes.push(frame.node_id);
    }
    if (frame.type === "delta") {
      pieces++;
      told.text += frame.content ?? "";
    }
    if (frame.type === "end") told.ends.push(frame);
    if (done || (when === "in" && pieces < 10) || told.nodes.length === 0) continue;
    done = true;
    strike(mesh.machine(told.nodes.at(-1) ?? ""));
  }
  return told;
}

const nodeState = (name: string) => mesh.client.nodes.list().find(({ record }) => record.node_id === name)?.state;

/** The caller has the whole answer, once, and the record one ending and the hops. */
async function expectWhole({ jobId, text, ends }: Told, hop: string): Promise<void> {
  expect(ends).toMatchObject([{ status: "finished", error: null }]);
  expect(text).toBe(answerOf(WORDS));
  await eventually("the record", () => (endings.get(jobId)?.length ?? 0) > 0);
  await operator.nc.flush();
  expect([endings.get(jobId), hops.get(jobId)]).toEqual([["finished"], [hop]]);
  // Who ended it commits to all that its caller was told, whoever began it, by the salt that came with the end.
  const salt = Buffer.from(ends[0]?.type === "end" ? (ends[0].commitment_salt ?? "") : "", "base64url");
  const { answer_hmac: own, whole_answer_hmac: whole } = committed.get(jobId) ?? {};
  expect(whole ?? own).toBe(commitment(salt, text));
}

test.each([
  ["P2", "before"],
  ["P2", "in"],
  ["P0", "before"],
  ["P0", "in"],
] as const)(
  "kill -9 of the agent under a %s job, %s its answer: the caller has one whole answer",
  async (level, when) => {
    await mesh.allReady();
    let hit: Machine | undefined;
    const told = await struck(level, when, (machine) => {
      hit = machine;
      machine.agent.kill("SIGKILL");
    });
    const name = hit?.name ?? "";
    await expectWhole(told, name);
    expect(committed.get(told.jobId)?.whole_answer_hmac !== undefined).toBe(when === "in");
    expect(told.nodes[0]).toBe(name);
    expect(gone).toContain(name);
    expect(nodeState(name)).toBe("disconnected");
    await hit?.restart();
  },
);

test("a runtime that hangs behind a healthy agent: whole answers, and the node is used again when it is well", async () => {
  for (const [level, when] of [
    ["P2", "in"],
    ["P0", "before"],
  ] as const) {
    await mesh.allReady();
    let hit: Machine | undefined;
    const told = await struck(level, when, (machine) => {
      hit = machine;
      machine.runtime.kill("SIGSTOP");
    });
    await expectWhole(told, hit?.name ?? "");
    const runtimes = () =>
      mesh.client.nodes.list().find(({ record }) => record.node_id === hit?.name)?.record.runtimes ?? [];
    expect(runtimes().some(({ healthy }) => healthy)).toBe(false);
    hit?.runtime.kill("SIGCONT");
    await eventually("the runtime to be well", () => runtimes().some(({ healthy }) => healthy));
  }
});

test("an agent that is stopped and goes on: its job went elsewhere, and it says nothing more of it", async () => {
  await mesh.allReady();
  let hit: Machine | undefined;
  const told = await struck("P2", "in", (machine) => {
    hit = machine;
    machine.agent.kill("SIGSTOP");
  });
  hit?.agent.kill("SIGCONT");
  await expectWhole(told, hit?.name ?? "");
  await mesh.allReady();
  expect(endings.get(told.jobId)).toEqual(["finished"]);
});

test("one request by hand whose node is killed: the router asks the next one, and one answer comes", async () => {
  await mesh.allReady();
  const reply = operator.nc.requestMany(
    operator.subjects.submit("chat"),
    JSON.stringify({ job_id: "by-hand-0001", prompt: prompt(800, 20), model: SHARED_MODEL, security_level: "P2" }),
    { strategy: "timer", maxWait: 6000 },
  );
  const holder = await eventually("a node with the job", () =>
    mesh.machines.find(
      ({ name }) =>
        (mesh.client.nodes.list().find(({ record }) => record.node_id === name)?.record.load?.running ?? 0) > 0,
    ),
  );
  holder.agent.kill("SIGKILL");
  const answers: JobResult[] = [];
  for await (const msg of await reply) answers.push(JobResult.parse(msg.json()));
  expect(answers).toMatchObject([{ status: "finished", message: { content: answerOf(20) } }]);
  expect(answers[0]?.node_id).not.toBe(holder.name);
  expect(hops.get("by-hand-0001")).toEqual([holder.name]);
  await holder.restart();
});

test("a gateway's stream whose node is killed is one stream with one [DONE]", async () => {
  await mesh.allReady();
  const response = await fetch(`${mesh.mesh.gatewayUrl}/v1/chat/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "Mesh-Class": "P0" },
    body: JSON.stringify({ model: SHARED_MODEL, stream: true, messages: [{ role: "user", content: prompt(100) }] }),
  });
  let body = "";
  let hit: Machine | undefined;
  const decoder = new TextDecoder();
  for await (const part of response.body ?? []) {
    body += decoder.decode(part as Uint8Array, { stream: true });
    if (hit !== undefined || body.split("data: ").length < 10) continue;
    hit = mesh.machine(response.headers.get("x-tiermesh-node") ?? "");
    hit.agent.kill("SIGKILL");
  }
  const events = body.split("\n\n").filter((event) => event.startsWith("data: {"));
  const text = events
    .map((event) => (JSON.parse(event.slice(6)) as { choices: { delta: { content?: string } }[] }).choices[0])
    .map((choice) => choice?.delta.content ?? "")
    .join("");
  expect(text).toBe(answerOf(WORDS));
  expect(body.match(/\[DONE\]/g)).toHaveLength(1);
  expect(body).not.toContain('"error"');
  await hit?.restart();
});

test("two of three routers killed while sealed and plain jobs run: nobody has anything but a whole answer", async () => {
  await mesh.allReady();
  const jobs = ["P0", "P2", "P0", "P2"].map(async (level) => {
    const request = { prompt: prompt(300), model: SHARED_MODEL, security_level: level, timeout_ms: 40_000 };
    const { status, message } = await mesh.client.submit(request);
    return [status, message?.content];
  });
  for (const router of ["router-1", "router-2"]) process.kill(mesh.mesh.pid(router), "SIGKILL");
  const after = mesh.client.submit({ prompt: prompt(0), model: SHARED_MODEL, security_level: "P0" });
  expect(await Promise.all(jobs)).toEqual(jobs.map(() => ["finished", answerOf(WORDS)]));
  expect((await after).status).toBe("finished");
});
