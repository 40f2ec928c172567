import { afterAll, beforeAll, expect, test } from "vitest";
import { MeshClient } from "../../client/index.ts";
import { connectBus } from "../../service/bus.ts";
import { readNkeyFile } from "../../service/access/nkey-file.ts";
import { createLog } from "../../service/log.ts";
import { startGuardedBus, type GuardedBus } from "../kit/guarded-bus.ts";
import { MODELS, NODES } from "../kit/hostile-jobs.ts";
import { OPENAI_HELLO, startProvider, type FakeProvider } from "../kit/provider-servers.ts";
import { RawNats } from "../kit/raw-nats.ts";
import { alternatives } from "../kit/role-expectations.ts";
import { curious } from "../kit/role-probes.ts";
import { nodeRecord } from "../kit/router-parts.ts";
import { startWalledMesh, type WalledMesh } from "../kit/walled-mesh.ts";

/**
 * Members of the mesh that are not what they should be, on a bus with permissions and while jobs run: somebody who has the
 * egress node's key beside the node itself, and a client that writes the protocol by hand.
 */

const SECRET = "CANARY-of-the-house";
let bus: GuardedBus;
let provider: FakeProvider;
let mesh: WalledMesh;
let client: MeshClient;

beforeAll(async () => {
  [bus, provider] = await Promise.all([startGuardedBus(), startProvider(OPENAI_HELLO)]);
  mesh = await startWalledMesh((member) => bus.addressOf(member), provider.url, { believes: "L2", says: "L2" });
  client = new MeshClient(await connectBus("caller", bus.addressOf("client"), createLog("test", "silent")));
});
afterAll(async () => {
  await client?.close();
  await mesh?.[Symbol.asyncDispose]();
  await provider?.[Symbol.asyncDispose]();
  await bus?.[Symbol.asyncDispose]();
});

/** P0 goes sealed and P1 in clear. */
async function runSecretJobs(count: number): Promise<void> {
  const jobs = Array.from({ length: count }, (_, i) =>
    client.submit({ prompt: `${SECRET} ${i}`, model: MODELS.both }, { dataClass: i % 2 === 0 ? "P0" : "P1" }),
  );
  for (const result of await Promise.all(jobs))
    expect(result).toMatchObject({ status: "finished", node_id: NODES.home });
}

const thief = () => RawNats.open(bus.port, bus.keys.cloud);

test("who has the egress node's key hears no word of the P0 and P1 jobs that run, however he listens", async () => {
  await using spy = await thief();
  const places = [
    "mesh.main.job.{run,sealed}.{P0,P1,P2}.{home,cloud}",
    "mesh.main.job.{submit.chat,route,cancel.x,verdict.r.home.1}",
    "mesh.main.event.{job_decided,job_ended}.{P0,P1}.{router.router,agent.home}",
    "mesh.main.{heartbeat.L0.home,router.key.r,codec.v,registry.add,audit.query}",
    "$JS.API.{STREAM.MSG.GET.AUDIT,CONSUMER.CREATE.AUDIT.spy}",
    `_INBOX.own.{x.y,${client.bus.inbox.split(".")[2]}.a.b}`,
  ].flatMap(alternatives);
  for (const [i, subject] of curious(places).entries()) {
    spy.subscribe(subject);
    spy.subscribe(subject, `group-${i}`);
  }
  await spy.flush();
  await runSecretJobs(60);
  // What it may hear it does: the ears are open.
  await client.submit({ prompt: "general", model: MODELS.cloudOnly }, { dataClass: "P2" });
  await spy.next(({ subject }) => subject === "mesh.main.job.run.P2.cloud");
  await spy.flush();
  const heard = spy.messages.filter(
    ({ body, headers, subject }) => /\.P[01](\.|$)/.test(subject) || `${headers}${body}`.includes(SECRET),
  );
  expect(heard).toEqual([]);
  const own = bus.keys.cloud.inbox;
  expect(spy.messages.filter(({ subject }) => subject.startsWith("_INBOX.") && !subject.startsWith(own))).toEqual([]);
  expect(spy.errors.filter((error) => error.includes("Permissions Violation for Subscription")).length).toBeGreaterThan(
    100,
  );
  expect(provider.requests.filter(({ text }) => text.includes(SECRET))).toEqual([]);
});

test("who has the egress node's key cannot bring P0 to it by lying about what it is", async () => {
  await using liar = await thief();
  const [key] = mesh.nodes[NODES.home]?.keys.announced ?? [];
  const better = {
    models: [MODELS.both],
    load: { slots: 5000, running: 0, queued: 0, queue_limit: 5000 },
    cost_factor: 0,
  };
  const served = [{ name: MODELS.both, runtime: "ollama", loaded: true, context_length: 100_000 }];
  const heartbeat = (layer: "L0" | "L1" | "L2", node: string, more: object = {}) =>
    JSON.stringify(nodeRecord(node, { ...better, served_models: served, layer, seq: 1_000_000, ...more }));
  const refused = ["L0.cloud", "L1.cloud", "L0.home", "L1.home", "L2.home", "L1.newcomer", "L2.newcomer"].map(
    (place) => `mesh.main.heartbeat.${place}`,
  );
  for (const subject of refused) {
    const [, , , layer = "", node = ""] = subject.split(".");
    liar.publish(subject, heartbeat(layer as "L1", node));
  }
  await liar.flush();
  expect(liar.errors).toEqual(refused.map((subject) => `'Permissions Violation for Publish to "${subject}"'`));
  // On its own subject the broker lets it speak: as another layer, as another node, and with another's key as its own.
  const own = "mesh.main.heartbeat.L2.cloud";
  liar.publish(own, heartbeat("L1", "cloud"));
  liar.publish(own, heartbeat("L2", "home"));
  liar.publish(own, heartbeat("L2", "cloud", { seal_keys: [key] }));
  await liar.flush();
  expect(liar.errors).toHaveLength(refused.length);
  await runSecretJobs(20);
  expect(provider.requests.filter(({ text }) => text.includes(SECRET))).toEqual([]);
});

test.each(["traceparent: a\nb", "Mesh-Class: P2\nMesh-Class: P0", "Mesh-Class : P2", "M\u0435sh-Class: P2"])(
  "headers that nobody can read are refused with a typed error, and the router goes on: %j",
  async (line) => {
    const address = bus.addressOf("client");
    const nkey = readNkeyFile(address.nkeyFile ?? "");
    await using raw = await RawNats.open(bus.port, nkey);
    raw.subscribe(`${nkey.inbox}.>`);
    const [name = "", value = ""] = line.split(/: (.*)/s);
    for (const subject of ["mesh.main.job.submit.chat", "mesh.main.job.route"]) {
      const inbox = `${nkey.inbox}.${raw.messages.length}`;
      raw.publish(subject, JSON.stringify({ prompt: SECRET, security_level: "P2" }), inbox, { [name]: value });
      const { body } = await raw.next((message) => message.subject === inbox);
      expect(JSON.parse(body)).toMatchObject({ error: { code: "bad_request", field: "headers" } });
    }
    // Nobody answers a cancel; what comes after it shows that it did no harm.
    raw.publish("mesh.main.job.cancel.job-00000001", "", "", { [name]: value });
    await raw.flush();
    await runSecretJobs(2);
  },
);
