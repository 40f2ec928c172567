import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { AuditStats, type AuditEntry, type Role } from "../../bus-schemas/index.ts";
import { connectBus, type Bus } from "../../service/bus.ts";
import { EventPublisher } from "../../service/events.ts";
import { createLog } from "../../service/log.ts";
import { startMesh, type TestMesh } from "../kit/mesh.ts";
import { decided, inputs } from "../kit/recorded-jobs.ts";
import { waitFor } from "../kit/wait-for.ts";

/** The record of a whole mesh, read as its people read it. */

let mesh: TestMesh;
let jobId: string;

beforeAll(async () => {
  mesh = await startMesh({ TIERMESH_AUDIT_CHECK_MS: "500" });
  const response = await fetch(`${mesh.gatewayUrl}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", "mesh-class": "P0" },
    body: JSON.stringify({ model: "auto", messages: [{ role: "user", content: "a word that must not be recorded" }] }),
  });
  expect(response.status).toBe(200);
  jobId = response.headers.get("x-tiermesh-job") ?? "";
});
afterAll(() => mesh[Symbol.asyncDispose]());

/** The output of `tiermesh audit …` once it succeeds and `accept` does. */
async function audit(accept: (out: string) => void, ...args: string[]): Promise<string> {
  return waitFor(async () => {
    const { code, out, err } = await mesh.run("audit", ...args);
    expect([code, err]).toEqual([0, ""]);
    accept(out);
    return out;
  });
}

/** On the bus as another part of this mesh. */
async function as(role: Role): Promise<Bus & AsyncDisposable> {
  const nkeyFile = path.join(mesh.home, "bus", "keys", `${role}.nk`);
  const bus = await connectBus(role, { url: mesh.address.url, nkeyFile }, createLog("test", "silent"));
  return { ...bus, [Symbol.asyncDispose]: () => bus.drain() };
}

const lines = (out: string) => (out === "" ? [] : out.split("\n").map((line) => JSON.parse(line) as AuditEntry));

test("a job is found by class, node and outcome, its story is told, and nothing of what was said is in it", async () => {
  const filters = ["--class", "P0", "--node", mesh.nodeId, "--outcome", "finished", "--since", "1h", "--json"];
  await audit((out) => expect(lines(out)).toMatchObject([{ type: "job_ended", job_id: jobId }]), "query", ...filters);
  const story = await audit((out) => expect(out).toContain(`finished on ${mesh.nodeId}`), "trace", jobId);
  expect(story).toContain(`job ${jobId}, class P0: finished`);
  expect(story).toContain(`decided: ${mesh.nodeId} (L0)`);
  expect(story).not.toContain("must not be recorded");
  const stats = await audit((out) => expect(out).toContain("finished"), "stats", "--class", "P0", "--json");
  expect(AuditStats.parse(JSON.parse(stats))).toMatchObject({ jobs: 1, endings: { finished: 1 } });
});

test("a wrong filter is told with what it takes, and ends with 2", async () => {
  const { code, err } = await mesh.run("audit", "query", "--since", "yesterday");
  expect([code, err]).toEqual([2, expect.stringContaining("a time such as")]);
});

test("the answer names its receipt, which is there at once for whoever asks, and proves itself by the log's key", async () => {
  const response = await fetch(`${mesh.gatewayUrl}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "auto", messages: [{ role: "user", content: "hello" }] }),
  });
  const url = response.headers.get("x-tiermesh-receipt") ?? "";
  expect(url).toBe(`/v1/receipts/${response.headers.get("x-tiermesh-job")}`);
  const receipt = await fetch(mesh.gatewayUrl + url);
  expect(receipt.status).toBe(200);
  const file = path.join(mesh.home, "answer.tlog-proof");
  await writeFile(file, await receipt.text());
  const key = path.join(mesh.home, "audit", "log-key.pub");
  const checked = await mesh.run("audit", "verify", "--receipt", file, "--key", key, "--json");
  expect([checked.code, JSON.parse(checked.out)]).toMatchObject([0, { ok: true, entry: { type: "job_ended" } }]);
  const over = await mesh.run(
    "audit",
    "receipt",
    jobId,
    "--key",
    key,
    "--out",
    path.join(mesh.home, "first"),
    "--json",
  );
  expect([over.code, JSON.parse(over.out)]).toMatchObject([0, { job_id: jobId, type: "job_ended" }]);
  expect((await mesh.run("audit", "receipt", "job-unknown", "--out", file)).err).toContain(
    "no ending of it is in the log",
  );
});

test("what is done to the stream of events is on record, with who did it, as the broker tells it", async () => {
  await using keeper = await as("keeper");
  const manager = await jetstreamManager(keeper.nc, { checkAPI: false });
  const { config } = await manager.streams.info("AUDIT");
  await manager.streams.update("AUDIT", { ...config, description: "touched" });
  const found = await audit(
    (out) => expect(lines(out).at(-1)?.data).toMatchObject({ action: "STREAM.UPDATE" }),
    "query",
    "--type",
    "stream_changed",
    "--json",
  );
  expect(lines(found).at(-1)).toMatchObject({
    source: expect.stringMatching(/^keeper\//),
    data: { stream: "AUDIT", by: expect.stringMatching(/^U[A-Z0-9]{55}$/), client: "tiermesh-keeper", refused: null },
  });
});

test("who set a model's quality, which keys were made, and what was taken out of the mesh are on record", async () => {
  expect((await mesh.run("quality", "set", "echo", "chat", "0.4", "--source", "evaluation 7")).code).toBe(0);
  const one = (out: string) => expect(lines(out)).toHaveLength(1);
  const changes = await audit(one, "query", "--type", "quality_changed", "--json");
  const change = {
    model: "echo",
    task_type: "chat",
    score: 0.4,
    source: "evaluation 7",
    by: expect.stringMatching(/@/),
  };
  expect(lines(changes)[0]).toMatchObject({ data: { started: false, changes: [change] } });
  const keys = lines(await audit(() => undefined, "query", "--type", "key_changed", "--json"));
  const roles = keys.map(({ source, data }) => `${source.split("/")[0]} ${(data as { role: string }).role}`);
  expect(new Set(roles)).toEqual(new Set(["agent node_sealing", "router router_signing"]));
  const proof = path.join(mesh.home, "proof.json");
  const made = await mesh.run("audit", "prove", "no-p0-egress", "--from", "1h", "--out", proof);
  expect([made.code, made.err]).toEqual([0, expect.not.stringContaining("not on record")]);
  const sha256 = createHash("sha256")
    .update(await readFile(proof))
    .digest("hex");
  expect((await mesh.run("audit", "trace", jobId, "--json")).err).toBe("");
  const accept = (out: string) => {
    const data = lines(out).map((entry) => entry.data);
    expect(data).toContainEqual(expect.objectContaining({ kind: "proof", sha256 }));
    expect(data).toContainEqual(expect.objectContaining({ kind: "entries", what: `trace ${jobId}` }));
    expect(data).toContainEqual(
      expect.objectContaining({ kind: "entries", what: "type=key_changed limit=100", count: 2, sha256: null }),
    );
  };
  await audit(accept, "query", "--type", "record_exported", "--json");
});

test("every part reports its counts; a job that nobody ended becomes a gap, an alert and a count", async () => {
  const reports = await audit(
    (out) =>
      expect(new Set(lines(out).map(({ source }) => source.split("/")[0]))).toEqual(
        new Set(["agent", "router", "gateway"]),
      ),
    "query",
    "--type",
    "counts_reported",
    "--json",
  );
  expect(lines(reports).find(({ source }) => source.startsWith("agent/"))?.data).toMatchObject({
    report: 0,
    counts: { started: 0 },
  });
  await using operator = await as("operator");
  const alerts: unknown[] = [];
  operator.listen(operator.subjects.alerts, (msg) => alerts.push([msg.subject, msg.json()]));
  await operator.nc.flush();
  await using router = await as("router");
  const events = new EventPublisher(router, "router", "router-that-died", createLog("test", "silent"));
  const job = "job-that-nobody-ended";
  const read = inputs(job, Date.now() - 120_000);
  await events.record("job_decided", { ...decided(job, "gpu-1", "L1"), inputs: read }, { dataClass: "P2" }).durable;
  await events.close();
  const gap = { kind: "job_unended", severity: "critical", job_id: job };
  await audit((out) => expect(lines(out)).toMatchObject([{ data: gap }]), "query", "--type", "audit_gap", "--json");
  expect(alerts).toMatchObject([["mesh.main.alert.critical.audit_gap", gap]]);
  expect(await mesh.metric("auditor", "audit_gaps_total", 'kind="job_unended"')).toBe(1);
  const story = await mesh.run("audit", "trace", job);
  expect(story.out).toContain("no ending in the log yet");
});
