import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { AuditPage, Decision, JobResult, type AuditEntry, type NodeRecord } from "../../bus-schemas/index.ts";
import { eventually, isAlive, runCli, startMesh, type TestMesh } from "../kit/mesh.ts";
import { RawNats } from "../kit/raw-nats.ts";
import { tempDir } from "../kit/temp-dir.ts";

let mesh: TestMesh;
beforeAll(async () => void (mesh = await startMesh()));
afterAll(async () => mesh[Symbol.asyncDispose]());

const raw = () => RawNats.open(mesh.busPort, mesh.tools);

/** What `tiermesh up --json` has said, by event. */
function said(event: string): Record<string, unknown>[] {
  const all = mesh.proc.lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  return all.filter((line) => line["event"] === event);
}

/** Every entry about a job, as soon as its ending is in the log. */
async function audited(client: RawNats, job: string): Promise<AuditEntry[]> {
  let count = 0;
  return eventually(`the ending of ${job} in the audit log`, async () => {
    const inbox = `_INBOX.audit.${job}.n${count++}`;
    client.subscribe(inbox);
    client.publish("mesh.main.audit.query", JSON.stringify({ job_id: job }), inbox);
    const page = AuditPage.parse(JSON.parse((await client.next(({ subject }) => subject === inbox)).body));
    return page.events.some(({ type }) => type === "job_ended") && page.events;
  });
}

test("up says when it is ready, and shows this machine with its real processor and memory", async () => {
  expect(said("ready")).toHaveLength(1);
  expect(said("ready")[0]).toMatchObject({ gateway_url: mesh.gatewayUrl, cell: "main" });
  expect(said("ready")[0]?.["processes"]).toEqual(expect.arrayContaining(["auditor", "agent", "gateway", "router"]));
  const { record } = said("node")[0] as { record: NodeRecord };
  expect(record.node_id).toBe(mesh.nodeId);
  expect(record.models).toEqual(["loopback"]);
  const seen = await eventually("measured hardware", async () => {
    const { out } = await mesh.run("nodes", "--json");
    const { hardware } = (JSON.parse(out) as NodeRecord[])[0] as NodeRecord;
    return hardware.cpu_utilization !== null && hardware.memory_gb !== null && hardware;
  });
  expect(seen.cpu_cores).toBeGreaterThan(0);
  expect(seen.memory_free_gb).toBeGreaterThan(0);
  expect(seen.memory_gb).toBeGreaterThan(seen.memory_free_gb as number);
  expect(seen.sampled_at.cpu).not.toBeNull();
});

test("the official OpenAI SDK streams through the gateway", async () => {
  const client = new OpenAI({ baseURL: `${mesh.gatewayUrl}/v1`, apiKey: "none", maxRetries: 0 });
  expect((await client.models.list()).data.map(({ id }) => id)).toEqual(["auto", "loopback"]);
  const stream = await client.chat.completions.create(
    {
      model: "auto",
      messages: [{ role: "user", content: "Hello" }],
      stream: true,
      stream_options: { include_usage: true },
    },
    // Sealed, what comes within one turn of the agent is one piece.
    { headers: { "Mesh-Class": "P2" } },
  );
  const pieces: string[] = [];
  let finish: string | null = null;
  let tokens = 0;
  for await (const chunk of stream) {
    const content = chunk.choices[0]?.delta.content;
    if (content !== undefined && content !== null && content !== "") pieces.push(content);
    finish = chunk.choices[0]?.finish_reason ?? finish;
    tokens = chunk.usage?.completion_tokens ?? tokens;
  }
  expect(pieces.length).toBeGreaterThan(1);
  expect(pieces.join("")).toContain("diagnostic loopback");
  expect(pieces.join("")).toContain("with 5 characters");
  expect(finish).toBe("stop");
  expect(tokens).toBeGreaterThan(0);
});

test("POST /route answers the document's own curl", async () => {
  const response = await fetch(`${mesh.gatewayUrl}/route`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: '{"task_type": "chat", "security_level": "P2"}',
  });
  expect(response.status).toBe(200);
  const decision = Decision.parse(await response.json());
  expect(decision).toMatchObject({ outcome: "routed", security_level: "P2", node_id: "here", layer: "L0" });
  expect((await fetch(`${mesh.gatewayUrl}/health`)).status).toBe(200);
});

test("a client that knows nothing but the NATS protocol gets an answer, the events and the list of services", async () => {
  await using client = await raw();
  client.subscribe("_INBOX.raw.answer");
  client.subscribe("_INBOX.raw.services");
  client.subscribe("mesh.main.event.>");
  await client.flush();
  const body = '{"task_type":"chat","security_level":"P2","messages":[{"role":"user","content":"hello"}]}';
  client.publish("mesh.main.job.submit.chat", body, "_INBOX.raw.answer");
  const answer = await client.next(({ subject }) => subject === "_INBOX.raw.answer");
  expect(answer.headers).toMatch(/Content-Type: ?application\/json/i);
  const result = JobResult.parse(JSON.parse(answer.body));
  expect(result).toMatchObject({ status: "finished", security_level: "P2", node_id: "here", diagnostic: true });
  expect(result.message?.content).toContain("diagnostic loopback");
  await client.next(
    ({ subject, body: event }) =>
      subject === "mesh.main.event.job_decided.P2.router.router" && event.includes(result.job_id),
  );
  await client.next(
    ({ subject, body: event }) =>
      subject === "mesh.main.event.job_ended.P2.agent.here" && event.includes(result.job_id),
  );

  client.publish("$SRV.PING", "", "_INBOX.raw.services");
  for (const name of ["router", "agent", "auditor", "gateway"])
    await client.next(
      ({ subject, body: pong }) => subject === "_INBOX.raw.services" && pong.includes(`"tiermesh-${name}"`),
    );

  const entries = await audited(client, result.job_id);
  expect(entries.map(({ type, source }) => [type, source])).toEqual([
    ["job_decided", "router/router"],
    ["job_ended", "agent/here"],
  ]);
  expect(client.messages.filter(({ subject }) => subject === "_INBOX.raw.answer")).toHaveLength(1);
});

test("a job without a class is P0: in clear it is refused, says how to seal it, and is on record without its content", async () => {
  await using client = await raw();
  client.subscribe("_INBOX.raw.>");
  client.subscribe("mesh.main.event.>");
  await client.flush();
  client.publish("mesh.main.job.submit.chat", '{"prompt":"a secret of the company"}', "_INBOX.raw.p0");
  const answer = await client.next(({ subject }) => subject === "_INBOX.raw.p0");
  const result = JobResult.parse(JSON.parse(answer.body));
  expect(result).toMatchObject({ status: "refused", security_level: "P0", error: { code: "encryption_required" } });
  // One connection sees both in the order in which the broker took them.
  const decided = client.messages.findIndex(
    ({ subject, body }) => subject === "mesh.main.event.job_decided.P0.router.router" && body.includes(result.job_id),
  );
  expect(decided).toBeGreaterThanOrEqual(0);
  expect(decided).toBeLessThan(client.messages.indexOf(answer));
  const entries = await audited(client, result.job_id);
  expect(entries.map(({ type, security_level }) => [type, security_level])).toEqual([
    ["job_decided", "P0"],
    ["job_ended", "P0"],
  ]);
  expect(entries[0]?.id).toBe(result.decision_id);
  expect(JSON.stringify(entries)).not.toContain("secret of the company");
});

test("the commands answer, in words and in JSON, with exit codes that scripts can use", async () => {
  const [status, submit, route, tail, doctor, typo, empty, number] = await Promise.all([
    mesh.run("status", "--json"),
    mesh.run("submit", "--json", "Hi"),
    mesh.run("route", "--class", "P0", "--explain"),
    mesh.run("audit", "tail", "--json", "-n", "1"),
    mesh.run("doctor", "--json"),
    mesh.run("submit", "--class", "p0", "Hi"),
    mesh.run("submit", "-"),
    mesh.run("submit", "--timeout", "soon", "Hi"),
  ]);
  expect(JSON.parse(status.out)).toMatchObject({ pid: mesh.proc.pid, gateway: mesh.gatewayUrl });
  expect(JobResult.parse(JSON.parse(submit.out)).status).toBe("finished");
  expect(route.out).toMatch(/→ +here +L0 +loopback/);
  expect(JSON.parse(tail.out)).toHaveProperty("sequence");
  expect([status, submit, route, tail, doctor].map(({ code }) => code)).toEqual([0, 0, 0, 0, 0]);
  // A typo must not run as another class, and nothing at all must not run as a prompt.
  expect([typo, empty, number].map(({ code }) => code)).toEqual([2, 2, 2]);
  expect(typo.err).toContain("P0, P1, P2");
  expect(empty.err).toContain("prompt");
  expect(number.err).toContain("--timeout");
});

test("a second up on the same home says who runs; on held ports, who holds them", async () => {
  await using folder = tempDir();
  const elsewhere = { ...mesh.env, TIERMESH_HOME: folder.path };
  const { gatewayPort, busPort } = mesh;
  const same = await mesh.run("up", "--gateway-port", "1");
  expect(same).toMatchObject({ code: 1 });
  expect(same.err).toContain(`process ${mesh.proc.pid}`);
  const gateway = await runCli(elsewhere, "up", "--gateway-port", String(gatewayPort), "--bus-port", "0");
  expect(gateway).toMatchObject({ code: 1 });
  expect(gateway.err).toContain(`port ${gatewayPort} is held by pid ${mesh.pid("gateway")}`);
  const bus = await runCli(elsewhere, "up", "--gateway-port", "1", "--bus-port", String(busPort));
  expect(bus).toMatchObject({ code: 1 });
  expect(bus.err).toContain(`port ${busPort} is held by pid ${mesh.pid("nats-server")}`);
  expect(bus.err).toContain("--bus-port");
});

test("a signal stops everything in order, and nothing is left", async () => {
  const pids = mesh.pids();
  // Supervisor, four parts, the bus and its guardian at least.
  expect(pids.length).toBeGreaterThanOrEqual(7);
  const bus = mesh.pid("nats-server");
  expect(pids).toContain(bus);
  mesh.proc.kill("SIGINT");
  expect(await mesh.proc.exited).toEqual({ code: 0, signal: null });
  expect(said("stopped")).toHaveLength(1);
  expect(pids.filter(isAlive)).toEqual([]);
  const logs = mesh.texts("logs").flatMap((text) => text.trim().split("\n"));
  const lines = logs.map(
    (line) => JSON.parse(line) as { name?: string; process?: string; msg: string; time: number | string },
  );
  const stopping = lines.filter(({ msg }) => msg === "stopping");
  stopping.sort((a, b) => Number(new Date(a.time)) - Number(new Date(b.time)));
  expect(stopping.map(({ name, process }) => name ?? process)).toEqual(["gateway", "router", "agent", "auditor"]);
  // The bus went last: each part could say its last word.
  expect(lines.filter(({ msg }) => /not acknowledged|did not close cleanly|bus is gone/.test(msg))).toEqual([]);
  const status = await mesh.run("status");
  expect(status).toMatchObject({ code: 1 });
});

test("kill -9 of the supervisor leaves no orphan", async () => {
  await using other = await startMesh();
  const pids = other.pids();
  expect(pids.length).toBeGreaterThanOrEqual(7);
  other.proc.kill("SIGKILL");
  await other.proc.exited;
  await eventually("every process gone", () => !pids.some(isAlive), 15_000);
  const status = await other.run("status", "--json");
  expect(status.code).toBe(1);
  expect(JSON.parse(status.out)).toMatchObject({ error: { code: "bus_unavailable" } });
});
