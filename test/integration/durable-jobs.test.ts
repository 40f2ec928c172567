import { afterAll, beforeAll, expect, test } from "vitest";
import { headersFor } from "../../service/messages.ts";
import { DurableMesh, mostAtOnce, policyText, type Node } from "../kit/durable-mesh.ts";
import { PolicyBucket } from "../../service/policy-bucket.ts";
import { waitFor } from "../kit/wait-for.ts";

const QUEUES = {
  chat: { priority: 100 },
  rag: { priority: 80, max_concurrency: 3, timeout_ms: 60_000 },
  brief: { priority: 20, max_concurrency: 2, timeout_ms: 400 },
  slow: { priority: 10, max_concurrency: 1, timeout_ms: 60_000 },
};

let mesh: DurableMesh;
let node: Node;

beforeAll(async () => {
  mesh = await DurableMesh.start(QUEUES);
  node = await mesh.node("node-1", "tiny,other", 64);
  await mesh.routers("one", "two", "three");
});
afterAll(async () => {
  await mesh[Symbol.asyncDispose]();
});

const job = (prompt: string, more = {}) => ({ prompt, model: "tiny", security_level: "P2", task_type: "rag", ...more });

test("a durable job gets a receipt at once, and its result can be asked for later", async () => {
  const receipt = await mesh.client.enqueue(job("ms=50"), { caller: { id: "alice" } });
  expect(receipt).toMatchObject({ type: "queued", queue: "rag", security_level: "P2", duplicate: false });
  const status = await mesh.client.waitFor(receipt.job_id);
  expect(status).toMatchObject({ state: "finished", node_id: "node-1", attempts: 1, error: null });
  expect(status.result?.message?.content).toBe("ms=50 by node-1");
  expect(await mesh.client.jobStatus(receipt.job_id)).toEqual(status);
  const ended = (await mesh.events("job_ended")).filter(({ data }) => data["job_id"] === receipt.job_id);
  expect(ended.map(({ data }) => data["status"])).toEqual(["finished"]);
  const decided = (await mesh.events("job_decided")).filter(({ data }) => data["job_id"] === receipt.job_id);
  for (const { data } of [...decided, ...ended]) expect(data["caller"]).toMatchObject({ id: "alice" });
  await waitFor(async () => {
    const runs = (await mesh.events("job_run_ended")).filter(({ data }) => data["job_id"] === receipt.job_id);
    expect(runs).toMatchObject([{ data: { commitments: { salt_from: "node", answer_hmac: expect.any(String) } } }]);
  });
  expect(decided).toHaveLength(1);
});

test("no more of a queue's jobs run at once than its max_concurrency, over three routers", async () => {
  const from = node.said().length;
  const receipts = await Promise.all(Array.from({ length: 30 }, (_, i) => mesh.client.enqueue(job(`ms=60 ${i}`))));
  const states = await Promise.all(receipts.map(({ job_id }) => mesh.client.waitFor(job_id)));
  expect(new Set(states.map(({ state }) => state))).toEqual(new Set(["finished"]));
  const said = node.said().slice(from);
  expect(mostAtOnce(said)).toBe(3);
  expect(said.filter(({ began }) => began !== undefined)).toHaveLength(30);
});

test("the same job again is no second job; another job under the same id or key is a conflict", async () => {
  const first = await mesh.client.enqueue(job("ms=300", { job_id: "same-id-0001" }));
  const again = await mesh.client.enqueue(job("ms=300", { job_id: "same-id-0001" }));
  expect([first.duplicate, again.duplicate]).toEqual([false, true]);
  await expect(mesh.client.enqueue(job("another", { job_id: "same-id-0001" }))).rejects.toMatchObject({
    code: "conflict",
  });
  await mesh.client.waitFor("same-id-0001");
  expect(node.runsOf("same-id-0001")).toBe(1);
  const late = await mesh.client.enqueue(job("ms=300", { job_id: "same-id-0001" }));
  expect(late.duplicate).toBe(true);
  const keyed = await Promise.all(
    Array.from({ length: 5 }, () => mesh.client.enqueue(job("ms=20", { idempotency_key: "invoice 7" }))),
  );
  expect(new Set(keyed.map(({ job_id }) => job_id)).size).toBe(1);
  expect(keyed.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
  await mesh.client.waitFor(keyed[0]?.job_id ?? "");
  expect(node.runsOf(keyed[0]?.job_id ?? "")).toBe(1);
});

test("P0 cannot lie in a queue in clear, nor can a durable job be streamed", async () => {
  await expect(mesh.client.enqueue(job("secret", { security_level: "P0" }))).rejects.toMatchObject({
    code: "encryption_required",
  });
  await expect(mesh.client.enqueue(job("x", { stream: true }))).rejects.toMatchObject({ code: "bad_request" });
  await expect(mesh.client.enqueue(job("x", { task_type: "nowhere" }))).rejects.toMatchObject({
    code: "unknown_queue",
  });
  await expect(mesh.client.jobStatus("nobody-knows-it")).rejects.toMatchObject({ code: "not_found" });
});

test("a P1 job runs only after the record of its decision is durable", async () => {
  const { job_id: id } = await mesh.client.enqueue(job("ms=20", { security_level: "P1" }));
  expect(await mesh.client.waitFor(id)).toMatchObject({ state: "finished", security_level: "P1" });
});

test("a job that waits or runs can be taken back", async () => {
  const running = await mesh.client.enqueue(job("hold", { task_type: "slow" }));
  await mesh.until(running.job_id, "running");
  await waitFor(() => expect(node.runsOf(running.job_id)).toBe(1));
  const waiting = await mesh.client.enqueue(job("ms=1", { task_type: "slow" }));
  expect(await mesh.client.jobStatus(waiting.job_id)).toMatchObject({ state: "queued", attempts: 0 });
  expect(await mesh.client.withdraw(waiting.job_id)).toMatchObject({ state: "cancelled" });
  expect(await mesh.client.withdraw(running.job_id)).toMatchObject({ state: "cancelled" });
  await waitFor(() => expect(node.said()).toContainEqual({ ended: running.job_id, how: "cancelled" }));
  // The queue goes on.
  const next = await mesh.client.enqueue(job("ms=1", { task_type: "slow" }));
  expect(await mesh.client.waitFor(next.job_id)).toMatchObject({ state: "finished" });
  expect(node.runsOf(waiting.job_id)).toBe(0);
  for (const { job_id } of [running, waiting]) {
    const ended = (await mesh.events("job_ended")).filter(({ data }) => data["job_id"] === job_id);
    expect(ended.map(({ data }) => data["status"])).toEqual(["cancelled"]);
  }
});

test("a deadline is absolute: what waits beyond it ends expired and never runs", async () => {
  const first = await mesh.client.enqueue(job("ms=1500", { task_type: "slow" }));
  const late = await mesh.client.enqueue(job("ms=1", { task_type: "slow", timeout_ms: 300 }));
  expect(await mesh.client.waitFor(late.job_id)).toMatchObject({
    state: "expired",
    error: { code: "deadline_exceeded" },
  });
  expect(await mesh.client.waitFor(first.job_id)).toMatchObject({ state: "finished" });
  const cut = await mesh.client.enqueue(job("hold", { task_type: "slow", timeout_ms: 400 }));
  expect(await mesh.client.waitFor(cut.job_id)).toMatchObject({ state: "expired" });
  expect(node.runsOf(late.job_id)).toBe(0);
});

test("a run that takes longer than its queue's timeout_ms is tried again, and at last the job is dead", async () => {
  const { job_id: id } = await mesh.client.enqueue(job("hold", { task_type: "brief" }));
  expect(await mesh.client.waitFor(id)).toMatchObject({
    state: "dead",
    attempts: 3,
    error: { code: "runtime_failed" },
  });
});

test("what fails for good lies among the dead letters, where a person sees it and sends it back", async () => {
  const final = await mesh.client.enqueue(job("fail=bad_request", { task_type: "slow", job_id: "dead-final-1" }), {
    caller: { id: "bob" },
  });
  const often = await mesh.client.enqueue(job("fail=runtime_failed", { task_type: "slow", job_id: "dead-often-1" }));
  expect(await mesh.client.waitFor(final.job_id)).toMatchObject({ state: "dead", attempts: 1 });
  expect(await mesh.client.waitFor(often.job_id)).toMatchObject({
    state: "dead",
    attempts: 3,
    error: { code: "runtime_failed" },
  });
  const { durable } = mesh.client;
  const { letters } = await durable.desk("dead", { queue: "slow" });
  expect(letters.map(({ id, attempts, error, is_job }) => ({ id, attempts, code: error.code, is_job }))).toEqual([
    { id: "dead-final-1", attempts: 1, code: "bad_request", is_job: true },
    { id: "dead-often-1", attempts: 3, code: "runtime_failed", is_job: true },
  ]);
  expect((await durable.desk("content", { id: "dead-final-1" })).request).toContain("fail=bad_request");
  const { requeued } = await durable.desk("requeue", { id: "dead-final-1", by: "tester" });
  expect(requeued).toEqual(["dead-final-1"]);
  await mesh.until("dead-final-1", "dead");
  await waitFor(async () => expect((await durable.desk("dead", { queue: "slow" })).letters).toHaveLength(2));
  expect((await durable.desk("requeue", { queue: "slow", by: "tester" })).requeued).toHaveLength(2);
  await waitFor(async () => expect((await durable.desk("dead", { queue: "slow" })).letters).toHaveLength(2));
  expect(await durable.desk("drop", { id: "dead-final-1", by: "tester" })).toEqual({ dropped: "dead-final-1" });
  const dead = (await mesh.events("job_dead")).filter(({ data }) => data["job_id"] === "dead-final-1");
  expect(dead).toHaveLength(3);
  for (const { data } of dead) expect(data["caller"]).toMatchObject({ id: "bob" });
  expect((await mesh.events("job_requeued")).map(({ data }) => data["by"])).toContain("tester");
});

test("what is no job goes to the dead letters and stops nothing", async () => {
  const { nc, subjects } = mesh.bus;
  nc.publish(subjects.work("slow", "garbage-1"), "\u0000 no job at all");
  nc.publish(subjects.work("slow", "garbage-2"), "{}", {
    headers: headersFor("json", { "Mesh-Job": "garbage-2", "Mesh-Round": "1" }),
  });
  const body = JSON.stringify({ prompt: "nobody enqueued me" });
  nc.publish(subjects.work("slow", "garbage-3"), body, {
    headers: headersFor("json", { "Mesh-Job": "garbage-3", "Mesh-Round": "1" }),
  });
  const { job_id: id } = await mesh.client.enqueue(job("ms=1", { task_type: "slow" }));
  expect(await mesh.client.waitFor(id)).toMatchObject({ state: "finished" });
  const { letters } = await mesh.client.durable.desk("dead", { queue: "slow" });
  const strays = letters.filter(({ is_job }) => !is_job);
  expect(strays.map(({ error }) => error.code)).toEqual(["bad_request", "bad_request", "not_found"]);
  const again = await mesh.client.durable.desk("requeue", { id: strays[0]?.id, by: "tester" });
  expect(again.refused.map(({ error }) => error.code)).toEqual(["bad_request"]);
});

test("operators see how full each queue is, and a new max_concurrency holds at once", async () => {
  const held = await Promise.all(
    Array.from({ length: 4 }, () => mesh.client.enqueue(job("hold", { task_type: "slow" }))),
  );
  const depth = async () => (await mesh.client.durable.desk("list", { queue: "slow" })).queues[0];
  await waitFor(async () =>
    expect(await depth()).toEqual({ queue: "slow", waiting: 3, in_hand: 1, max_concurrency: 1 }),
  );
  const bucket = await PolicyBucket.open(mesh.bus);
  const wider = { ...QUEUES, slow: { ...QUEUES.slow, max_concurrency: 3 } };
  await bucket.put(policyText(wider), { by: "tester", after: (await bucket.latest())?.revision ?? 0 });
  await waitFor(async () =>
    expect(await depth()).toEqual({ queue: "slow", waiting: 1, in_hand: 3, max_concurrency: 3 }),
  );
  const { jobs } = await mesh.client.durable.desk("list", { queue: "slow", state: "running" });
  await waitFor(() => expect(held.filter(({ job_id }) => node.runsOf(job_id) === 1)).toHaveLength(3));
  expect(jobs.length).toBeLessThanOrEqual(3);
  await Promise.all(held.map(({ job_id }) => mesh.client.withdraw(job_id)));
});
