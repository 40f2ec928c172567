import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { CHANNELS, type NodeRecordInput, type WireError } from "../../bus-schemas/index.ts";
import { MeshClient } from "../../client/index.ts";
import { connectBus, type Bus } from "../../service/bus.ts";
import { SHARED_CONTENT_TYPE, decode } from "../../service/codec.ts";
import { newId } from "../../service/ids.ts";
import { createLog } from "../../service/log.ts";
import { header } from "../../service/messages.ts";
import {
  ANSWERING,
  CANARY,
  GARBAGE,
  PLACES,
  errorOf,
  natsHeaders,
  subjectOf,
  written,
  type Headers,
} from "../kit/hostile.ts";
import { eventually, startMesh, type TestMesh } from "../kit/mesh.ts";
import { nodeRecord } from "../kit/router-parts.ts";

let mesh: TestMesh;
let bus: Bus;
let client: MeshClient;
let pids: number[] = [];

beforeAll(async () => {
  mesh = await startMesh({ LOG_LEVEL: "DEBUG" }, [], { openBus: true });
  bus = await connectBus("hostile", mesh.address, createLog("test", "silent"));
  client = await MeshClient.connect({ ...mesh.address, log: createLog("test", "silent") });
  // A router's own token is in the reply subject of each job that it dispatches.
  const learn = (reply = "") => (PLACES["router"] = reply.split(".").at(-3) ?? "");
  const dispatched = bus.listen("mesh.main.job.run.>", (msg) => learn(msg.reply));
  await bus.nc.flush();
  await client.submit({ prompt: "Hello", security_level: "P2" });
  await bus.nc.flush();
  dispatched.unsubscribe();
  pids = mesh.pids();
});
afterAll(async () => {
  await client.close();
  await bus.drain();
  await mesh[Symbol.asyncDispose]();
});

function send(subject: string, body: Uint8Array | string, headers: Headers = {}, reply?: string): void {
  bus.nc.publish(subject, body, { headers: natsHeaders(headers), ...(reply === undefined ? {} : { reply }) });
}

const errorFrom = (subject: string, body: Uint8Array | string, headers: Headers = {}) =>
  errorOf(bus, subject, body, headers);

async function expectGoodJob(): Promise<void> {
  const result = await client.submit({ prompt: `Hello ${CANARY}`, timeout_ms: 10_000 });
  expect(result).toMatchObject({ status: "finished", node_id: "here", error: null });
}

test.each(CHANNELS)(
  "garbage on $name: an error where one can be said, and nothing stops",
  async ({ name, address }) => {
    const subject = subjectOf(address);
    for (const [what, body, headers] of GARBAGE) {
      if (!ANSWERING.includes(name)) {
        send(subject, body, headers, `${bus.inbox}.nobody`);
        continue;
      }
      const { code, message } = await errorFrom(subject, body, headers);
      expect(["bad_request", "codec_unknown"], `${what}: ${message}`).toContain(code);
    }
    await bus.nc.flush();
  },
);

test("wrong types are named by their field", async () => {
  const { submit, route, control, auditQuery } = bus.subjects;
  const wrong: [string, string, object][] = [
    ["messages", submit("chat"), { messages: 7 }],
    ["messages[1].role", submit("chat"), { messages: [{ role: "user" }, { role: CANARY, content: CANARY }] }],
    ["prompt", submit("chat"), { prompt: { text: CANARY } }],
    ["max_tokens", submit("chat"), { prompt: CANARY, max_tokens: -1 }],
    ["timeout_ms", submit("chat"), { prompt: CANARY, timeout_ms: 1e300 }],
    ["job_id", submit("chat"), { prompt: CANARY, job_id: "a.b.>" }],
    ["messages", submit("chat"), {}],
    ["task_type", submit("nosuchqueue"), { prompt: CANARY }],
    ["security_level", route, { security_level: ["P0"] }],
    ["command", control("here"), { command: CANARY }],
    ["reason", control("here"), { command: "cordon", reason: 7 }],
    ["limit", auditQuery, { limit: CANARY }],
    ["type", auditQuery, { type: "no_such_event" }],
  ];
  const named = await Promise.all(
    wrong.map(async ([, subject, body]) => (await errorFrom(subject, JSON.stringify(body))).field),
  );
  expect(named).toEqual(wrong.map(([field]) => field));
});

test("bad headers are named, and no subject but an inbox is ever spoken to", async () => {
  const { submit, run, control, auditQuery, event } = bus.subjects;
  const body = JSON.stringify({ prompt: CANARY });
  for (const job of ["*", ">", "a.b", "mesh.main.node.control.here", "x".repeat(500)])
    expect((await errorFrom(submit("chat"), body, { "Mesh-Job": job })).field).toBe("Mesh-Job");
  for (const deadline of ["soon", "-1", "1e3", "NaN", "0x10"])
    expect((await errorFrom(submit("chat"), body, { "Mesh-Deadline": deadline })).field).toBe("Mesh-Deadline");
  expect((await errorFrom(submit("chat"), body, { "Mesh-Deadline": "1000000000000" })).code).toBe("deadline_exceeded");

  // What the mesh itself is made to say would be seen here: on its own subjects, and on the reply subjects below.
  const overheard: string[] = [];
  const spy = bus.listen(">", (msg) => void overheard.push(msg.subject));
  const aims = [
    control("here"),
    event("job_ended", "P0", "agent", "here"),
    "mesh.main.heartbeat.L0.here",
    "somewhere.else",
    "$JS.API.STREAM.PURGE.AUDIT",
  ];
  const dispatched = {
    "Mesh-Job": "hostile-job",
    "Mesh-Model": "loopback",
    "Mesh-Class": "P0",
    "Mesh-Deadline": String(Date.now() + 5000),
  };
  const refused = async (headers: Headers) => {
    const reply = await bus.nc.request(run("P0", "here"), body, { timeout: 5000, headers: natsHeaders(headers) });
    return decode(reply.data, header(reply, "Content-Type")) as { type: string; error?: WireError };
  };
  for (const aim of aims) {
    expect(await refused({ ...dispatched, "Mesh-Reply": aim })).toMatchObject({
      type: "refused",
      error: { field: "Mesh-Reply" },
    });
    send(submit("chat"), body, {}, aim);
    send(bus.subjects.route, "{}", {}, aim);
    send(auditQuery, "{}", {}, aim);
    send(control("here"), "{}", {}, aim);
    send(run("P0", "here"), body, { ...dispatched, "Mesh-Job": newId(), "Mesh-Reply": `${bus.inbox}.nobody` }, aim);
  }
  const inbox = { "Mesh-Reply": `${bus.inbox}.nobody` };
  expect(await refused({ ...dispatched, ...inbox, "Mesh-Deadline": "soon" })).toMatchObject({
    error: { field: "Mesh-Deadline" },
  });
  expect(await refused({ ...dispatched, ...inbox, "Mesh-Model": "" })).toMatchObject({
    error: { field: "Mesh-Model" },
  });
  // A wildcard in Mesh-Job: there is no id to refuse by, so it is counted only.
  const before = await mesh.metric("agent", "messages_rejected_total", 'kind="run"');
  send(run("P0", "here"), body, { ...dispatched, ...inbox, "Mesh-Job": "*" }, `${bus.inbox}.nobody`);
  await eventually(
    "the count",
    async () => (await mesh.metric("agent", "messages_rejected_total", 'kind="run"')) > before,
  );
  await expectGoodJob();
  spy.unsubscribe();
  // What we sent there ourselves, and nothing more.
  expect(overheard.filter((subject) => subject === control("here"))).toHaveLength(aims.length);
  expect(
    overheard.filter((subject) => subject === "somewhere.else" || subject.startsWith("$JS.API.STREAM.PURGE")),
  ).toEqual([]);
});

test("heartbeats that lie are dropped, counted and named; the node they lie about is not believed to be theirs", async () => {
  const lie = (layer: "L0" | "L1", node: string, record: object) =>
    send(bus.subjects.heartbeat(layer, node), JSON.stringify(record));
  const truth: NodeRecordInput = { ...nodeRecord("liar"), layer: "L0" };
  const gpu = { name: "H100", vram_total_gb: 80 };
  const before = await mesh.metric("router", "messages_rejected_total", 'kind="heartbeat"');
  lie("L0", "liar", { ...truth, hardware: { gpus: [{ ...gpu, vram_free_gb: -1 }] } });
  lie("L0", "liar", { ...truth, hardware: { gpus: Array.from({ length: 1000 }, () => gpu) } });
  lie("L0", "liar", { ...truth, hardware: { cpu_cores: 1e9 } });
  lie("L0", "liar", { ...truth, load: { slots: 1e9 } });
  lie("L0", "liar", { ...truth, node_id: "here" });
  lie("L1", "liar", truth);
  lie("L0", "liar", { ...truth, hostname: CANARY.repeat(100) });
  await eventually(
    "seven more rejected",
    async () => (await mesh.metric("router", "messages_rejected_total", 'kind="heartbeat"')) >= before + 7,
  );
  const { out } = await mesh.run("nodes", "--json");
  expect((JSON.parse(out) as { node_id: string }[]).map(({ node_id }) => node_id)).toEqual(["here"]);
  const fields = await eventually("the events", async () => {
    const { events } = await audit({ type: "message_rejected", limit: 1000 });
    const found = new Set(
      events
        .map(({ data }) => data)
        .filter(({ process, subject_kind: kind }) => process === "router" && kind === "heartbeat")
        .map(({ field }) => field),
    );
    return found.has("layer") && found;
  });
  const wanted = [
    "hardware.gpus[].vram_free_gb",
    "hardware.gpus",
    "hardware.cpu_cores",
    "load.slots",
    "node_id",
    "layer",
    "hostname",
  ];
  expect([...fields]).toEqual(expect.arrayContaining(wanted));
});

test("a well-formed lie, a node that is not there, costs a round trip and not the job", async () => {
  const echo = { models: ["loopback"], runtimes: [{ name: "loopback", kind: "loopback", diagnostic: true }] };
  const served_models = [
    {
      name: "loopback",
      runtime: "loopback",
      loaded: true,
      context_length: 1_000_000,
      capabilities: ["text", "chat"],
      prefill_tokens_per_second: 1_000_000,
      ms_per_token: 0,
    },
  ];
  const load = { slots: 100_000 };
  for (const [seq, level] of ["P0", "P2"].entries()) {
    const ghost = nodeRecord("ghost", { ...echo, served_models, load, layer: "L0", boot_id: "b", seq, cost_factor: 0 });
    send(bus.subjects.heartbeat("L0", "ghost"), JSON.stringify(ghost));
    await eventually("the ghost chosen", async () => (await client.decide({ prompt: "Hi" })).node_id === "ghost");
    const result = await client.submit({ prompt: `Hello ${CANARY}`, security_level: level, timeout_ms: 10_000 });
    expect(result).toMatchObject({ status: "finished", node_id: "here", attempts: 2 });
  }
});

test("whatever bytes and headers come, on whatever subject, each request is answered once with a typed error", async () => {
  const contentTypes = [
    "",
    "application/json",
    "application/msgpack",
    SHARED_CONTENT_TYPE,
    "application/vnd.tiermesh.msgpack",
    "x",
  ];
  const headerText = fc.string({ unit: "grapheme-ascii", maxLength: 40 }).map((text) => text.trim());
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...CHANNELS),
      fc.uint8Array({ maxLength: 300 }),
      fc.constantFrom(...contentTypes),
      fc.record({
        "Mesh-Job": headerText,
        "Mesh-Class": headerText,
        "Mesh-Deadline": headerText,
        "Mesh-Reply": headerText,
      }),
      async ({ name, address }, bytes, contentType, headers) => {
        const subject = subjectOf(address);
        const body = Buffer.concat([Buffer.from([0xc1]), bytes, Buffer.from(CANARY)]);
        const all = { ...headers, "Content-Type": contentType };
        if (ANSWERING.includes(name)) await errorFrom(subject, body, all);
        else send(subject, body, all);
      },
    ),
    { numRuns: 150 },
  );
  await expectGoodJob();
});

test("after all that every process is the same, jobs run, all was counted, and nothing of it is written anywhere", async () => {
  expect(mesh.pids()).toEqual(expect.arrayContaining(pids));
  expect(mesh.file().processes.map(({ restarts }) => restarts)).toEqual([0, 0, 0, 0]);
  await expectGoodJob();
  const { code, out } = await mesh.run("nodes", "--json");
  expect(code).toBe(0);
  expect(
    (JSON.parse(out) as { node_id: string; status: string }[]).find(({ node_id }) => node_id === "here")?.status,
  ).toBe("healthy");
  const counted = [
    "router submit",
    "router route",
    "router verdict",
    "router heartbeat",
    "agent run",
    "agent sealed",
    "agent router_key",
    "agent control",
    "auditor audit_query",
  ];
  await eventually("every kind reported", async () => {
    const { events } = await audit({ type: "message_rejected", limit: 1000 });
    const kinds = new Set(events.map(({ data }) => `${data.process} ${data.subject_kind}`));
    return counted.every((kind) => kinds.has(kind));
  });
  expect(await mesh.metric("auditor", "audit_entries_total", 'kind="rejected"')).toBeGreaterThan(0);
  const all = await written(mesh);
  expect(all.join("").length).toBeGreaterThan(10_000);
  expect(all.filter((text) => text.includes(CANARY))).toEqual([]);
});

interface Rejected {
  process: string;
  subject_kind: string;
  field: string | null;
}

async function audit(query: object): Promise<{ events: { data: Rejected }[] }> {
  const reply = await bus.nc.request(bus.subjects.auditQuery, JSON.stringify(query), { timeout: 5000 });
  return reply.json();
}
