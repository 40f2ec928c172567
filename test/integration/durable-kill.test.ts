import { jetstreamManager } from "@nats-io/jetstream";
import { afterEach, beforeEach, expect, test } from "vitest";
import { DurableMesh, type Node } from "../kit/durable-mesh.ts";
import type { Proc } from "../kit/proc.ts";
import { waitFor } from "../kit/wait-for.ts";

const QUEUES = {
  rag: { priority: 80, max_concurrency: 6, timeout_ms: 60_000 },
  media: { priority: 60, max_concurrency: 8, timeout_ms: 60_000, batch_window_ms: 1000 },
};

let mesh: DurableMesh;

beforeEach(async () => {
  mesh = await DurableMesh.start(QUEUES);
});
afterEach(async () => {
  await mesh[Symbol.asyncDispose]();
});

const job = (prompt: string, more = {}) => ({ prompt, model: "tiny", security_level: "P2", task_type: "rag", ...more });

/** Enqueues jobs that take a while, and waits until some of them run. */
async function batch(count: number, ms: number, nodes: readonly Node[]): Promise<string[]> {
  const receipts = await Promise.all(
    Array.from({ length: count }, (_, i) => mesh.client.enqueue(job(`ms=${ms} ${i}`, { job_id: `batch-job-${i}` }))),
  );
  await waitFor(() => expect(nodes.flatMap((node) => node.said()).length).toBeGreaterThan(4));
  return receipts.map(({ job_id }) => job_id);
}

/** Each job has one ending for its caller and one in the record, and its result is the one that was committed. */
async function expectOneEndingEach(ids: readonly string[]): Promise<void> {
  const states = await Promise.all(ids.map((id) => mesh.client.waitFor(id)));
  expect(states.filter(({ state }) => state !== "finished")).toEqual([]);
  expect(states.map(({ result }) => result?.job_id)).toEqual(ids);
  await waitFor(async () => {
    const ended = (await mesh.events("job_ended")).map(({ data }) => String(data["job_id"]));
    expect(ended.toSorted()).toEqual([...ids].toSorted());
  });
  // Nothing of it is left in the queue.
  await waitFor(async () => {
    const { queues } = await mesh.client.durable.desk("list", { queue: "rag" });
    expect(queues).toEqual([{ queue: "rag", waiting: 0, in_hand: 0, max_concurrency: 6 }]);
  });
}

test("routers die in the middle of a batch: every job ends once, and runs go on under another router", async () => {
  const node = await mesh.node("node-1");
  const [one, two] = await mesh.routers("one", "two", "three");
  const ids = await batch(24, 400, [node]);
  one?.kill("SIGKILL");
  await waitFor(() => expect(node.said().filter(({ ended }) => ended !== undefined).length).toBeGreaterThan(6));
  two?.kill("SIGKILL");
  await expectOneEndingEach(ids);
  // What was lost was the router's memory, not the node's work.
  expect(node.said().filter(({ began }) => began !== undefined)).toHaveLength(24);
});

test("a node dies in the middle of a batch: its jobs run on another one", async () => {
  const nodes = await Promise.all([mesh.node("node-1"), mesh.node("node-2")]);
  await mesh.routers("one", "two");
  const ids = await batch(16, 500, nodes);
  const victim = nodes.find((node) => node.said().some(({ began }) => began !== undefined)) ?? nodes[0];
  victim.proc.kill("SIGKILL");
  await victim.proc.exited;
  await expectOneEndingEach(ids);
  for (const { result } of await Promise.all(ids.map((id) => mesh.client.jobStatus(id))))
    expect(result?.node_id).toBeTruthy();
});

test("a router that slept while another took over cannot commit when it wakes", async () => {
  const node = await mesh.node("node-1");
  const sleeper = await mesh.router("sleeper");
  const { job_id: id } = await mesh.client.enqueue(job("ms=2000"));
  await waitFor(() => expect(node.runsOf(id)).toBe(1));
  const first = await held(id);
  sleeper.kill("SIGSTOP");
  // Its answer lies in the sleeper's socket; nobody thanks for it, so the node keeps it for whoever comes.
  await waitFor(() => expect(node.said()).toContainEqual({ ended: id, how: "finished" }));
  await mesh.router("other");
  expect(await mesh.client.waitFor(id)).toMatchObject({ state: "finished", attempts: 1 });
  const committed = await held(id);
  expect(committed.fence).toBeGreaterThan(first.seq);
  expect(await resultUnder(id, first.seq)).toBe(false);
  sleeper.kill("SIGCONT");
  // It stores the answer that it has, under its own token, and then may not say that this is the job's ending.
  await waitFor(async () => expect(await resultUnder(id, first.seq)).toBe(true));
  await expectOneEndingEach([id]);
  expect(await held(id)).toEqual(committed);
  expect(node.runsOf(id)).toBe(1);
});

test("a node that slept is overtaken, and what it says later changes nothing", async () => {
  const [a, b] = await Promise.all([mesh.node("node-a"), mesh.node("node-b")]);
  await mesh.router("one");
  const { job_id: id } = await mesh.client.enqueue(job("ms=1500"));
  await waitFor(() => expect(a.runsOf(id) + b.runsOf(id)).toBe(1));
  const [sleeper, other] = a.runsOf(id) === 1 ? [a, b] : [b, a];
  sleeper.proc.kill("SIGSTOP");
  expect(await mesh.client.waitFor(id)).toMatchObject({ state: "finished", node_id: other.nodeId, attempts: 2 });
  sleeper.proc.kill("SIGCONT");
  await waitFor(() => expect(sleeper.said().some(({ ended }) => ended === id)).toBe(true));
  await expectOneEndingEach([id]);
  expect(await mesh.client.jobStatus(id)).toMatchObject({ node_id: other.nodeId });
});

test("the broker dies and comes back: the queue is there, and what ran goes on", async () => {
  const node = await mesh.node("node-1");
  await mesh.routers("one", "two");
  const ids = await batch(14, 500, [node]);
  await mesh.server.kill();
  await mesh.server.restart();
  await expectOneEndingEach(ids);
});

test("a router that stops in order hands over what it has at once", async () => {
  const node = await mesh.node("node-1");
  const leaving: Proc = await mesh.router("leaving");
  const { job_id: id } = await mesh.client.enqueue(job("ms=2500"));
  await waitFor(() => expect(node.runsOf(id)).toBe(1));
  await mesh.router("staying");
  leaving.kill("SIGTERM");
  expect((await leaving.exited).code).toBe(0);
  expect(await mesh.client.waitFor(id)).toMatchObject({ state: "finished", attempts: 1 });
  await expectOneEndingEach([id]);
  expect(node.runsOf(id)).toBe(1);
});

test("a batch goes out by model: jobs for one go to one node one after the other", async () => {
  const nodes = await Promise.all([mesh.node("node-1", "tiny,other", 4), mesh.node("node-2", "tiny,other", 4)]);
  await mesh.router("one");
  const models = ["tiny", "other", "tiny", "other", "tiny", "other"];
  const add = async (model: string, i: number) =>
    (await mesh.client.enqueue(job("ms=20", { model, task_type: "media", job_id: `${model}-job-${i}` }))).job_id;
  const ids = await Promise.all(models.map(add));
  const ends = await Promise.all(ids.map((id) => mesh.client.waitFor(id)));
  const nodesOf = (model: string) =>
    new Set(ends.filter(({ result }) => result?.model === model).map((e) => e.node_id));
  expect([nodesOf("tiny").size, nodesOf("other").size]).toEqual([1, 1]);
  for (const node of nodes) {
    const began = node.said().flatMap(({ began: id }) => id?.split("-")[0] ?? []);
    expect(began.filter((model, i) => model !== began[i - 1]).length).toBeLessThanOrEqual(2);
  }
});

/** What the broker has of a job: the number of its state's message, and the token of the run that ended it. */
async function held(jobId: string): Promise<{ seq: number; fence: number }> {
  const manager = await jetstreamManager(mesh.bus.nc);
  const { jobStreams, jobState } = mesh.bus.subjects;
  const message = await manager.streams.getMessage(jobStreams.states, { last_by_subj: jobState(jobId) });
  return { seq: message?.seq ?? 0, fence: message?.json<{ fence: number }>().fence ?? 0 };
}

async function resultUnder(jobId: string, fence: number): Promise<boolean> {
  const manager = await jetstreamManager(mesh.bus.nc);
  const { jobStreams, jobResult } = mesh.bus.subjects;
  const query = { last_by_subj: jobResult(jobId, String(fence)) };
  return (await manager.streams.getMessage(jobStreams.results, query)) !== null;
}
