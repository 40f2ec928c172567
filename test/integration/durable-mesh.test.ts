import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { MeshClient } from "../../client/index.ts";
import { readNkeyFile } from "../../service/access/nkey-file.ts";
import { startMesh, type TestMesh } from "../kit/mesh.ts";
import { RawNats } from "../kit/raw-nats.ts";
import { waitFor } from "../kit/wait-for.ts";

/** Durable jobs on a whole mesh, whose broker lets each process do only what its role may (ADR 0013). */
let mesh: TestMesh;

beforeAll(async () => {
  mesh = await startMesh();
});
afterAll(async () => {
  await mesh[Symbol.asyncDispose]();
});

const jsonOf = async (...args: string[]) => {
  const { code, out, err } = await mesh.run("jobs", ...args, "--json");
  return { code, err, said: out === "" ? {} : (JSON.parse(out) as Record<string, unknown>) };
};

test("a person puts a job in a queue, waits for it, and sees it in the list and in the record", async () => {
  const { code, out, err } = await mesh.run("jobs", "add", "--class", "P1", "--wait", "hello queue");
  expect([err.includes("in the queue rag"), code]).toEqual([true, 0]);
  expect(out).toContain("11 characters");
  const { said } = await jsonOf("list", "--queue", "rag");
  expect(said).toMatchObject({
    queues: [{ queue: "rag", waiting: 0, in_hand: 0, max_concurrency: 40 }],
    jobs: [{ state: "finished", security_level: "P1", result: null }],
  });
  expect((await mesh.run("jobs", "list")).out).toContain("finished");
  const [{ job_id: id }] = said["jobs"] as [{ job_id: string }];
  const shown = await mesh.run("jobs", "show", id);
  expect(shown.out).toContain("finished");
  expect(shown.out).not.toContain("hello queue");
  // The job itself is kept no longer than it is needed; its answer is.
  const inside = (await mesh.run("jobs", "show", id, "--content")).out;
  expect([inside.includes("no longer kept"), inside.includes("11 characters")]).toEqual([true, true]);
  const { out: record } = await mesh.run("audit", "tail", "--json");
  expect(record).not.toContain("hello queue");
  for (const type of ["job_queued", "job_decided", "job_run_ended", "job_ended"]) expect(record).toContain(type);
});

test("dead letters are listed, looked at, requeued and dropped by hand", async () => {
  const added = await jsonOf("add", "--class", "P2", "--model", "nobody-has-it", "--timeout", "60", "too bad");
  const id = String(added.said["job_id"]);
  await using client = await MeshClient.connect({ ...mesh.address, name: "waiting" });
  // A model that nobody serves is waited for a moment: its node may be on its way back.
  expect(await client.waitFor(id)).toMatchObject({ state: "dead", error: { code: "model_not_found" } });
  expect((await mesh.run("jobs", "dead")).out).toMatch(new RegExp(`${id} +rag .*model_not_found`));
  expect((await jsonOf("requeue", "--queue", "rag")).said).toEqual({ requeued: [id], refused: [] });
  expect((await jsonOf("cancel", id)).said).toMatchObject({ state: "cancelled" });
  expect((await jsonOf("dead")).said).toEqual({ letters: [], more: false });
  const none = await jsonOf("drop", id);
  expect([none.code, none.said]).toMatchObject([1, { error: { code: "not_found" } }]);
});

test("a program with a client's key may enqueue and ask, and the broker keeps it from the desk", async () => {
  const { nats_client_nkey: nkeyFile } = mesh.file();
  await using client = await MeshClient.connect({ ...mesh.address, nkeyFile, name: "program" });
  const { job_id: id } = await client.enqueue({ prompt: "by a program", security_level: "P2" });
  expect(await client.waitFor(id)).toMatchObject({ state: "finished" });
  await expect(client.durable.desk("content", { id })).rejects.toMatchObject({ code: "forbidden" });
});

test("a router, who may make consumers, cannot have JetStream say for it what only an operator may", async () => {
  const router = readNkeyFile(path.join(mesh.home, "bus", "keys", "router.nk"));
  await using raw = await RawNats.open(mesh.busPort, router);
  const inbox = `${router.inbox}.1`;
  raw.subscribe(inbox);
  // Good bodies of both: of a cordon, and of a question to the desk.
  const body = JSON.stringify({ command: "cordon", reason: "forged", id: "forged", by: "nobody" });
  raw.publish("mesh.main.queue.letter.rag.forged", body, inbox);
  await raw.next(({ body }) => body.includes('"seq"'));
  const config = { name: "forged", ack_policy: "none", deliver_policy: "all" };
  const create = JSON.stringify({ stream_name: "JOB_LETTERS", config });
  raw.publish("$JS.API.CONSUMER.CREATE.JOB_LETTERS.forged", create, inbox);
  await raw.next(({ body }) => body.includes("consumer_create_response") && body.includes('"config"'));
  for (const victim of [`mesh.main.node.control.${mesh.nodeId}`, "mesh.main.queue.desk.drop"])
    raw.publish("$JS.API.CONSUMER.MSG.NEXT.JOB_LETTERS.forged", "1", victim);
  raw.publish("mesh.main.queue.letter.rag.forged", body);
  await raw.flush();
  expect(raw.errors).toEqual([]);
  // The node has heard the forged word before this one.
  await using operator = await MeshClient.connect({ ...mesh.address, name: "operator" });
  const { nc, subjects } = operator.bus;
  const reply = await nc.request(subjects.control(mesh.nodeId), JSON.stringify({ command: "resume" }));
  expect(reply.json()).toMatchObject({ ok: true });
  const seen = async () => (await mesh.run("audit", "tail", "--type", "node_controlled", "--json")).out;
  await waitFor(async () => expect(await seen()).toContain("resume"));
  expect(await seen()).not.toContain("cordon");
  const { out } = await mesh.run("audit", "tail", "--type", "message_rejected", "--json");
  expect([out.includes('"control"'), out.includes('"queue"')]).toEqual([true, true]);
});
