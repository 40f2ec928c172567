import { expect, test } from "vitest";
import { Decision, MeshError, NodeRecord, type NodeRecordInput } from "../../bus-schemas/index.ts";
import type { SeenNode, SeenState } from "../../client/index.ts";
import { VERSION } from "../../service/version.ts";
import { ACCEPTED, FakeMesh, ending, saying } from "../../test/kit/fake-mesh.ts";
import { startGateway } from "../../test/kit/gateway.ts";

const ANSWER = saying(ACCEPTED, ending());

function node(id: string, state: SeenState, record: Partial<NodeRecordInput> = {}): SeenNode {
  const base = {
    node_id: id,
    layer: "L0",
    status: "healthy",
    hardware: {},
    last_heartbeat: "2026-01-01T00:00:00Z",
  } as const;
  return { state, seenAgoMs: 10, record: NodeRecord.parse({ ...base, ...record }) };
}

function serving(id: string, state: SeenState, names: string[], diagnostic = false): SeenNode {
  return node(id, state, {
    runtimes: [{ name: "rt", kind: "test", diagnostic }],
    served_models: names.map((name) => ({ name, runtime: "rt" })),
  });
}

function decision(parts: Partial<Decision>): Decision {
  return Decision.parse({
    outcome: "routed",
    security_level: "P2",
    task_type: "chat",
    tool: { tool: "local_model", data_residency: "any", reason: "no tool asked for" },
    node_id: "n1",
    layer: "L0",
    model: "tiny:1b",
    score: null,
    reason: "the only node",
    candidates: [],
    candidates_total: 1,
    rejected_by: {},
    alternatives: [],
    policy_revision: "1",
    error: null,
    ...parts,
  });
}

async function getJson(url: string): Promise<{ status: number; body: unknown }> {
  const response = await fetch(url);
  expect(response.headers.get("server")).toBe("tiermesh");
  return { status: response.status, body: await response.json() };
}

function postRoute(url: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${url}/route`, {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "content-type": "application/json", ...headers },
  });
}

test.each([
  [true, 2, 200, "ok", [node("a", "ready"), node("b", "lost"), node("c", "left")], []],
  [true, 1, 200, "degraded", [node("a", "cordoned")], ["ready node"]],
  [true, 0, 503, "unavailable", [node("a", "ready")], ["router"]],
  [false, 0, 503, "unavailable", [], ["bus", "router", "ready node"]],
] as const)(
  "health with bus %s and %i routers is %i %s",
  async (busConnected, routers, status, word, fleet, missing) => {
    const mesh = new FakeMesh(ANSWER);
    mesh.fleet = [...fleet];
    await using gateway = await startGateway(mesh, { state: { busConnected, routers } });
    const nodes = fleet.filter((seen) => seen.state !== "left").length;
    const readyNodes = fleet.filter((seen) => seen.state === "ready").length;
    expect(await getJson(`${gateway.url}/health`)).toEqual({
      status,
      body: { status: word, nodes, ready_nodes: readyNodes, routers, missing, version: VERSION },
    });
  },
);

test("a receipt is handed out as the file that it is; while there is none the answer says when to ask again", async () => {
  const mesh = new FakeMesh(ANSWER);
  await using gateway = await startGateway(mesh);
  const ask = (id: string) => fetch(`${gateway.url}/v1/receipts/${id}`);
  expect(await getJson(`${gateway.url}/v1/receipts/01TESTJOB0`)).toMatchObject({
    status: 404,
    body: { error: { code: "not_found" } },
  });
  expect(await getJson(`${gateway.url}/v1/receipts/a.b`)).toMatchObject({
    status: 400,
    body: { error: { param: "job" } },
  });
  mesh.proof = new MeshError("audit_unavailable", "no auditor answers");
  expect((await ask("01TESTJOB0")).status).toBe(503);
  const receipt = "c2sp.org/tlog-proof@v1\nextra e30=\nindex 0\n\no\n1\nAAAA\n";
  mesh.proof = {
    job_id: "01TESTJOB0",
    receipt,
    origin: "o",
    index: 0,
    size: 1,
    type: "job_ended",
    time: "2026-01-01T00:00:00Z",
  };
  const response = await ask("01TESTJOB0");
  expect([response.status, response.headers.get("content-type"), await response.text()]).toEqual([
    200,
    "text/plain; charset=utf-8",
    receipt,
  ]);
  expect(response.headers.get("content-disposition")).toContain("01TESTJOB0.tlog-proof");
});

test("SEED's curl gets the decision", async () => {
  const mesh = new FakeMesh(ANSWER);
  mesh.decision = decision({});
  await using gateway = await startGateway(mesh);
  const response = await postRoute(gateway.url, { task_type: "chat", security_level: "P2" });
  expect([response.status, await response.json()]).toEqual([200, mesh.decision]);
  expect(mesh.seen[0]).toEqual({ job: { task_type: "chat", security_level: "P2" }, options: { dataClass: "P2" } });
});

test("a refused route answers with its error's status and the whole decision", async () => {
  const mesh = new FakeMesh(ANSWER);
  mesh.decision = decision({
    outcome: "refused",
    node_id: null,
    layer: null,
    model: null,
    error: new MeshError("all_busy", "everybody is busy", { retryAfterMs: 2500 }).toWire(),
  });
  await using gateway = await startGateway(mesh);
  const response = await postRoute(gateway.url, { task_type: "chat" });
  expect([response.status, response.headers.get("retry-after"), await response.json()]).toEqual([
    529,
    "3",
    mesh.decision,
  ]);
});

test("a route without a router is 503, and the stricter of header and body goes with it", async () => {
  const mesh = new FakeMesh(ANSWER);
  await using gateway = await startGateway(mesh);
  const response = await postRoute(
    gateway.url,
    { security_level: "P2" },
    {
      "X-Security-Level": "P1",
      "X-Request-Timeout-Ms": "900",
      traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-01`,
    },
  );
  expect([response.status, await response.json()]).toMatchObject([503, { error: { code: "no_router" } }]);
  expect(mesh.seen[0]).toEqual({
    job: { security_level: "P1", timeout_ms: 900 },
    options: { dataClass: "P1", traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-01` },
  });
});

test("the earlier of header and body is the deadline, and no caller chooses a job's id", async () => {
  const mesh = new FakeMesh(ANSWER);
  mesh.decision = decision({});
  await using gateway = await startGateway(mesh);
  const body = { deadline_unix_ms: 2_000_000_000_000, timeout_ms: 50, job_id: "someone-elses" };
  await postRoute(gateway.url, body, { "Mesh-Deadline": "1900000000000", "X-Request-Timeout-Ms": "900" });
  expect(mesh.seen[0]?.job).toEqual({ deadline_unix_ms: 1_900_000_000_000, timeout_ms: 50 });
});

test("models are the ready nodes' and auto; diagnostic ones only when there is nothing else", async () => {
  const mesh = new FakeMesh(ANSWER);
  await using gateway = await startGateway(mesh);
  const ids = async () =>
    ((await getJson(`${gateway.url}/v1/models`)).body as { data: { id: string }[] }).data.map((model) => model.id);
  mesh.fleet = [serving("d", "ready", ["loopback"], true)];
  expect(await ids()).toEqual(["auto", "loopback"]);
  mesh.fleet = [
    serving("d", "ready", ["loopback"], true),
    serving("a", "ready", ["b:7b", "a/c"]),
    serving("b", "ready", ["b:7b"]),
    serving("c", "lost", ["gone"]),
    node("seed", "ready", { models: ["llama3.1:70b"] }),
  ];
  expect(await ids()).toEqual(["auto", "a/c", "b:7b", "llama3.1:70b"]);
});

test("one model is found by its id, slashes included, and an unknown one is 404", async () => {
  const mesh = new FakeMesh(ANSWER);
  mesh.fleet = [serving("a", "ready", ["org/model:7b"])];
  await using gateway = await startGateway(mesh);
  for (const path of ["org/model:7b", "org%2Fmodel%3A7b"]) {
    expect(await getJson(`${gateway.url}/v1/models/${path}`)).toMatchObject({
      status: 200,
      body: { id: "org/model:7b", object: "model", owned_by: "tiermesh", created: expect.any(Number) },
    });
  }
  expect(await getJson(`${gateway.url}/v1/models/auto`)).toMatchObject({ status: 200, body: { id: "auto" } });
  expect(await getJson(`${gateway.url}/v1/models/gone`)).toMatchObject({
    status: 404,
    body: { error: { code: "model_not_found", param: "model" } },
  });
});

test("metrics count by route and status, never by path", async () => {
  await using gateway = await startGateway(new FakeMesh(ANSWER));
  await (await fetch(`${gateway.url}/health`)).text();
  await (await fetch(`${gateway.url}/v1/models/my-secret-name`)).text();
  await (await fetch(`${gateway.url}/no/such/path`)).text();
  const text = await (await fetch(`${gateway.url}/metrics`)).text();
  expect(text).toMatch(
    /^tiermesh_http_requests_total\{route="\/health",method="GET",status="200",process="gateway"\} 1$/m,
  );
  expect(text).toMatch(
    /^tiermesh_http_requests_total\{route="\/v1\/models\/\*",method="GET",status="404",process="gateway"\} 1$/m,
  );
  expect(text).toMatch(
    /^tiermesh_http_requests_total\{route="unknown",method="GET",status="404",process="gateway"\} 1$/m,
  );
  expect(text).not.toMatch(/secret|no\/such/);
});
