import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { jetstream } from "@nats-io/jetstream";
import { headers } from "@nats-io/nats-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Decision, EventData } from "../../bus-schemas/index.ts";
import { MeshClient } from "../../client/index.ts";
import { connectBus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { PolicyBucket } from "../../service/policy-bucket.ts";
import { policyName } from "../../service/routing-config.ts";
import { ensureAuditStream } from "../../service/streams.ts";
import { startTestBus, type TestBus } from "../kit/bus.ts";
import { startProc, type Proc } from "../kit/proc.ts";
import { ScriptedAgent } from "../kit/scripted-agent.ts";
import { tempDir } from "../kit/temp-dir.ts";
import { waitFor } from "../kit/wait-for.ts";

/** Two real routers and an auditor on a real bus, policies applied by the real command. */

const ROOT = path.join(import.meta.dirname, "..", "..");
const log = createLog("test", "silent");
const folder = tempDir();

let server: TestBus;
let client: MeshClient;
let agent: ScriptedAgent;
let bucket: PolicyBucket;
let auditor: Proc;
const routers: { id: string; proc: Proc; healthPort: number }[] = [];
const seen: { type: string; router: string; data: unknown }[] = [];

const env = () => ({
  TIERMESH_NATS_URL: server.url,
  TIERMESH_NATS_USER: server.user,
  TIERMESH_NATS_PASSWORD: server.pass,
  TIERMESH_HOME: folder.path,
});

async function start(id: string, main: string, extra: Record<string, string> = {}) {
  const proc = startProc(path.join(ROOT, main), { env: { ...env(), LOG_LEVEL: "info", ...extra } });
  const [line] = await proc.waitForLine(/^\{"ready":true.*$/, 30_000);
  return { id, proc, healthPort: (JSON.parse(line) as { health_port: number }).health_port };
}

const startRouter = (id: string, file: string) =>
  start(id, "router/main.ts", { TIERMESH_ROUTER_ID: id, ROUTING_CONFIG_PATH: file });

/** A routing file with so many retries, which tells policies apart. */
function policyText(retries: number, more = ""): string {
  return `# ${retries} retries\nrouting_policy:\n  defaults:\n    retry_attempts: ${retries}\n${more}`;
}

function file(name: string, text: string): string {
  const at = path.join(folder.path, name);
  writeFileSync(at, text);
  return at;
}

/** Runs `tiermesh …` to its end. */
async function tiermesh(...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const proc = startProc(path.join(ROOT, "cli/main.ts"), { args, env: env() });
  const { code } = await proc.exited;
  return { code, out: proc.lines.join("\n"), err: proc.errors.join("\n") };
}

async function policyOf(healthPort: number): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${healthPort}/health`);
  return ((await response.json()) as { policy: string }).policy;
}

/** Resolves when every router says that it decides by this policy. */
async function allOn(name: string): Promise<void> {
  await waitFor(
    async () => {
      for (const { healthPort } of routers) expect(await policyOf(healthPort)).toBe(name);
    },
    { timeout: 10_000, interval: 20 },
  );
}

const decide = (): Promise<Decision> => client.decide({ task_type: "chat", security_level: "P2" });

const newest = async () => {
  const revision = await bucket.latest();
  return { number: revision?.revision ?? 0, name: policyName(revision?.revision ?? 0, revision?.text ?? "") };
};

beforeAll(async () => {
  server = await startTestBus();
  const address = { url: server.url, user: server.user, password: server.pass };
  client = new MeshClient(await connectBus("test", address, log));
  await ensureAuditStream(client.bus);
  for (const type of ["policy_changed", "policy_rejected"] as const) {
    client.bus.listen(client.bus.subjects.eventsOf(type, "none"), (msg) => {
      seen.push({ type, router: msg.headers?.get("ce-source") ?? "", data: msg.json() });
    });
  }
  agent = await ScriptedAgent.start(address, "n1", "tiny", () => undefined);
  bucket = await PolicyBucket.open(client.bus);
  const first = file("first.yaml", policyText(1));
  auditor = (await start("auditor", "auditor/main.ts")).proc;
  routers.push(...(await Promise.all([startRouter("r1", first), startRouter("r2", first)])));
});

afterAll(async () => {
  for (const { proc } of routers) await proc[Symbol.asyncDispose]();
  await auditor?.[Symbol.asyncDispose]();
  await agent?.[Symbol.asyncDispose]();
  await client?.close();
  await server?.stop();
  await folder.remove();
});

test("the file of the first router becomes revision 1, once, and both decide by it", async () => {
  const name = policyName(1, policyText(1));
  await allOn(name);
  expect((await bucket.latest())?.revision).toBe(1);
  // Each says what it starts with, text and all.
  await waitFor(() => expect(seen.length).toBe(2));
  for (const { data } of seen) {
    expect(data).toMatchObject({ policy_revision: name, previous_revision: null, text: policyText(1) });
  }
  seen.length = 0;
  await waitFor(async () => expect(await decide()).toMatchObject({ outcome: "routed", policy_revision: name }));
});

test("a new revision is in every decision of both routers within a second, and each records its switch", async () => {
  const text = policyText(2);
  const revision = await bucket.put(text, { by: "ann@desk", note: "one more", after: 1 });
  const startedMs = performance.now();
  const name = policyName(revision, text);
  await allOn(name);
  expect(performance.now() - startedMs).toBeLessThan(1000);
  for (let i = 0; i < 20; i++) expect((await decide()).policy_revision).toBe(name);
  await waitFor(() => expect(seen.filter(({ type }) => type === "policy_changed").length).toBe(2));
  expect(seen.map(({ router }) => router).toSorted()).toEqual(["router/r1", "router/r2"]);
  expect(seen[0]?.data).toEqual({
    policy_revision: name,
    previous_revision: policyName(1, policyText(1)),
    by: "ann@desk",
    note: "one more",
    text_sha256: createHash("sha256").update(text).digest("hex"),
    text,
  });
});

test("`policy apply` says what changed, who decides by it, and refuses what is no policy before the bus sees it", async () => {
  const good = await tiermesh("policy", "apply", file("new.yaml", policyText(3)), "--note", "更多重试");
  const { number, name } = await newest();
  expect(good).toMatchObject({ code: 0, err: "" });
  expect(good.out).toBe(
    `applied as revision ${number} (${name}); against revision ${number - 1}:\n` +
      "  ~ routing_policy.defaults.retry_attempts: 2 → 3\nall 2 routers decide by it",
  );
  expect((await bucket.latest())?.note).toBe("更多重试");
  const again = await tiermesh("policy", "apply", path.join(folder.path, "new.yaml"));
  expect([again.code, again.out.split("\n")[0]]).toEqual([
    0,
    `revision ${number} already says this; nothing was applied`,
  ]);

  const typo = file("typo.yaml", "routing_policy:\n  defalts: {}\n");
  const bad = await tiermesh("policy", "apply", typo);
  expect(bad).toMatchObject({ code: 1, out: "" });
  expect(bad.err).toBe(`tiermesh: ${typo}:2: routing_policy.defalts: unknown key (did you mean "defaults"?)`);
  expect((await tiermesh("policy", "apply")).code).toBe(2);
  expect((await tiermesh("policy", "show", "--revision", "zero")).code).toBe(2);
  expect(await newest()).toEqual({ number, name });
});

test("a revision that does not parse leaves the last good one, is recorded by each router, and `policy show` says so", async () => {
  const { name, number } = await newest();
  seen.length = 0;
  await jetstream(client.bus.nc).publish(client.bus.subjects.policyBucket.key, "routing_policy: {weights: [1\n");
  await waitFor(() => expect(seen.length).toBe(2), { timeout: 5000 });
  const rejected = seen[0]?.data as EventData<"policy_rejected">;
  expect(seen.map(({ type, router }) => `${type} ${router}`).toSorted()).toEqual([
    "policy_rejected router/r1",
    "policy_rejected router/r2",
  ]);
  expect(rejected).toMatchObject({ kept_revision: name, reason: expect.stringMatching(/not YAML/) as string });
  expect((await decide()).policy_revision).toBe(name);
  const shown = await tiermesh("policy", "show");
  expect(shown.code).toBe(0);
  expect(shown.out).toContain(`# policy revision ${number} (${name}), in force`);
  expect(shown.out).toMatch(
    new RegExp(`# revision ${number + 1} by unknown is no good, routers do not take it: .*not YAML`),
  );
  expect(shown.out).toContain(`# router r2 decides by ${name}`);
  const asJson = await tiermesh("policy", "show", "--json");
  expect(JSON.parse(asJson.out)).toMatchObject({
    in_force: name,
    rejected: [{ revision: number + 1 }],
    routers: [{ router_id: "r1", policy: name }, { router_id: "r2" }],
  });

  // As `nats kv del` does it.
  const deleted = headers();
  deleted.set("KV-Operation", "DEL");
  await jetstream(client.bus.nc).publish(client.bus.subjects.policyBucket.key, "", { headers: deleted });
  await waitFor(() => expect(seen.length).toBe(4), { timeout: 5000 });
  expect(seen[3]?.data).toMatchObject({ kept_revision: name, reason: "the key was deleted" });
  expect((await decide()).policy_revision).toBe(name);
});

test("a rollback is a new revision with the old text; a bad one cannot be rolled back to", async () => {
  const { number } = await newest();
  expect(await tiermesh("policy", "rollback", String(number))).toMatchObject({
    code: 1,
    err: expect.stringContaining(`policy revision ${number} is no good`) as string,
  });
  expect((await tiermesh("policy", "rollback", "999")).err).toContain("there is no policy revision 999");
  const back = await tiermesh("policy", "rollback", "1");
  expect([back.code, back.out.split("\n").at(-1)]).toEqual([0, "all 2 routers decide by it"]);
  const name = policyName(number + 1, policyText(1));
  expect((await decide()).policy_revision).toBe(name);
  const { out } = await tiermesh("policy", "history");
  const rows = out.split("\n").map((row) => row.trim());
  expect(rows[1]).toMatch(new RegExp(`^${number + 1} +${name} .* in force +rollback to 1$`));
  expect(rows[2]).toContain("no good");
  const difference = await tiermesh("policy", "diff", "1", "2");
  expect(difference.out).toContain("~ routing_policy.defaults.retry_attempts: 1 → 2");
});

test("of concurrent applies one wins, the others are told and change nothing", async () => {
  const { number } = await newest();
  const put = (retries: number) => bucket.put(policyText(retries), { by: `person-${retries}`, after: number });
  const results = await Promise.allSettled([put(4), put(5), put(6)]);
  const won = results.filter(({ status }) => status === "fulfilled");
  expect(won.length).toBe(1);
  for (const result of results) {
    if (result.status === "fulfilled") continue;
    expect(result.reason).toMatchObject({
      code: "conflict",
      message: expect.stringMatching(/revision \d+ by person-\d/),
    });
  }
  expect((await newest()).number).toBe(number + 1);
  const late = await tiermesh("policy", "apply", file("late.yaml", policyText(8)), "--if-revision", String(number));
  expect(late).toMatchObject({ code: 1, out: "" });
  expect(late.err).toBe(`tiermesh: the newest revision is ${number + 1}, not ${number}; nothing was applied`);
});

test("`policy test` decides recent jobs again and prints what the candidate would change", async () => {
  const job = client.submit({ task_type: "chat", security_level: "P2", prompt: "hello", timeout_ms: 1000 });
  const candidate = file("narrow.yaml", policyText(2, "  security:\n    P2: {allowed_layers: [L0]}\n"));
  await job;
  const report = await waitFor(
    async () => {
      const { code, out, err } = await tiermesh("policy", "test", candidate);
      expect([code, err]).toEqual([0, ""]);
      expect(out).toContain("recent jobs decided again on the nodes of their records");
      return out;
    },
    { timeout: 30_000 },
  );
  expect(report).toContain("(1 newly refused, 0 newly routed, 0 elsewhere)");
  expect(report).toMatch(/P2 +chat +L1 n1 tiny +refused +no node can take this P2 job; removed by: data_class 1/);
  expect(report).toContain("Each job was decided again on the nodes that its record holds");
  expect(report).not.toContain("hello");
});

test("a restarted bus has its policies, routers stay on theirs meanwhile, and the next one reaches them", async () => {
  const { number, name } = await newest();
  await server.kill();
  for (const { healthPort } of routers) expect(await policyOf(healthPort)).toBe(name);
  await server.restart();
  await waitFor(() => expect(client.bus.connected()).toBe(true), { timeout: 10_000 });
  const text = policyText(9);
  const revision = await waitFor(() => bucket.put(text, { by: "test", after: number }), { timeout: 10_000 });
  await allOn(policyName(revision, text));
});

test("a router that comes later takes the bus's policy, and says that its own file differs", async () => {
  const { name } = await newest();
  const other = file("other.yaml", policyText(10));
  await using late = (await startRouter("r3", other)).proc;
  await late.waitForLine(/other\.yaml differs from policy revision \d+ on the bus, which counts/);
  const shown = await tiermesh("policy", "show");
  expect(shown.out).toContain(`# router r3 decides by ${name}`);
});
