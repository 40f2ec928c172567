import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { NODE_SCHEMA_VERSION, type Caller, type Commitments } from "../../bus-schemas/index.ts";
import { MeshClient, SaltKeeper } from "../../client/index.ts";
import { bundleAgent } from "../../scripts/agent-bundle.ts";
import { connectBus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { ensureAuditStream } from "../../service/streams.ts";
import { busAddress, busEnv } from "../bench/bus-address.ts";
import { startTestBus, type TestBus } from "../kit/bus.ts";
import { eventually } from "../kit/mesh.ts";
import { NEWEST_FIELDS, OTHER_VERSIONS, sourcesOf } from "../kit/other-version.ts";
import { startProc, type Proc } from "../kit/proc.ts";
import { tempDir } from "../kit/temp-dir.ts";

/** In a rolling upgrade agents and routers of two versions stand side by side: each has to understand the other. */

const ROOT = path.join(import.meta.dirname, "..", "..");
const folder = tempDir("tiermesh-pair-");
const rejected: unknown[] = [];
const recorded: { type: string; job_id?: string; caller?: Caller; commitments?: Commitments }[] = [];
let bus: TestBus;
let client: MeshClient;
let router: Proc;

beforeAll(async () => {
  bus = await startTestBus();
  client = new MeshClient(await connectBus("test", busAddress(bus), createLog("test", "silent")), {
    salts: new SaltKeeper(path.join(folder.path, "salts")),
    caller: { id: "alice" },
  });
  for (const type of ["job_decided", "job_ended"] as const)
    for (const dataClass of ["P0", "P2"] as const)
      client.bus.listen(client.bus.subjects.eventsOf(type, dataClass), (msg) =>
        recorded.push({ ...msg.json<object>(), type }),
      );
  await ensureAuditStream(client.bus);
  client.bus.listen(client.bus.subjects.eventsOf("message_rejected", "none"), (msg) => rejected.push(msg.json()));
  router = startProc(path.join(ROOT, "router/main.ts"), {
    env: {
      ...busEnv(bus),
      TIERMESH_ROUTER_ID: "r1",
      TIERMESH_HOME: folder.path,
      ROUTING_CONFIG_PATH: path.join(ROOT, "deploy/routing.yaml"),
    },
  });
  await router.waitForLine(/^\{"ready":true.*$/, 30_000);
});
afterAll(async () => {
  await router?.[Symbol.asyncDispose]();
  await client?.close();
  await bus?.stop();
  await folder.remove();
});

test.each([
  ["next", NODE_SCHEMA_VERSION + 1],
  ["previous", NODE_SCHEMA_VERSION - 1],
] as const)(
  "an agent of the %s version is seen, chosen, and answers in the clear and sealed",
  async (which, schema) => {
    const node = `agent-${which}`;
    const built = path.join(folder.path, which);
    const version = `0.0.0-${which}`;
    await bundleAgent(built, { version, plugins: [sourcesOf(OTHER_VERSIONS[which])] });
    await using agent = startProc(path.join(built, "main.js"), {
      env: {
        ...busEnv(bus),
        TIERMESH_NODE_ID: node,
        TIERMESH_HOME: path.join(folder.path, `${which}-home`),
        TIERMESH_CACHE_DIR: path.join(folder.path, "cache"),
        TIERMESH_EMBEDDED: "off",
        TIERMESH_LOOPBACK: "true",
        TIERMESH_PROFILE: "server",
      },
    });
    const record = await client.nodes.ready(
      (each) => each.node_id === node && each.models.length > 0,
      AbortSignal.timeout(30_000),
    );
    expect(record).toMatchObject({ schema_version: schema, status: "healthy" });
    // An older one lacks what it did not know, and readers have a default for each.
    expect([record.version, NEWEST_FIELDS.every((field) => field in record)]).toEqual([
      which === "next" ? version : null,
      true,
    ]);
    // The router asks for the table of the heartbeats by itself, and may be a moment behind this client.
    const chosen = async () => (await client.decide({ task_type: "chat", security_level: "P2" })).node_id === node;
    await eventually("the router to know it", chosen);
    for (const security_level of ["P2", "P0"] as const) {
      const result = await client.submit({ prompt: "hello", security_level, timeout_ms: 20_000 });
      expect(result).toMatchObject({ status: "finished", node_id: node, error: null });
      expect(String(result.message?.content)).toContain("5 characters");
      // Who runs it may know nothing of callers and salts; the router does.
      const about = () => recorded.filter((event) => event.job_id === result.job_id);
      await eventually("its ending on record", () => Promise.resolve(about().some(({ type }) => type === "job_ended")));
      expect(about().find(({ type }) => type === "job_decided")?.caller?.id).toBe("alice");
      const { caller, commitments } = about().find(({ type }) => type === "job_ended") ?? {};
      expect([caller?.id, commitments?.salt_from]).toEqual(
        which === "next" ? ["alice", "caller"] : [undefined, undefined],
      );
    }
    expect(rejected).toEqual([]);
    agent.kill();
    expect(await agent.exited).toEqual({ code: 0, signal: null });
  },
);
