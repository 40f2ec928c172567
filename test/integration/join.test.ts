import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { jetstream } from "@nats-io/jetstream";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { joinMesh, readMember } from "../../agent/membership.ts";
import { NodeEntry } from "../../bus-schemas/index.ts";
import { MeshClient } from "../../client/index.ts";
import { Broker } from "../../cli/bus/broker.ts";
import { checkBusSettings } from "../../cli/bus/bus-settings.ts";
import { addNode, listNodes, revokeNode } from "../../cli/registry-client.ts";
import { newUserNkey, readNkeyFile, userNkeyOf } from "../../service/access/nkey-file.ts";
import { readJoinToken } from "../../service/access/join-token.ts";
import { connectBus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { nextMessage } from "../kit/next-message.ts";
import { freePorts } from "../kit/process-bus.ts";
import { RawNats } from "../kit/raw-nats.ts";
import { tempDir, type TempDir } from "../kit/temp-dir.ts";
import { waitFor } from "../kit/wait-for.ts";

const quiet = createLog("test", "silent");
const REPO = path.join(import.meta.dirname, "..", "..");
const USUAL = { hours: 1, replace: false };

let folder: TempDir;
let port: number;
let broker: Broker;
let operator: MeshClient;

const startBroker = () =>
  Broker.start(
    {
      env: process.env,
      folder: path.join(folder.path, "bus"),
      settings: checkBusSettings({ port }, "test"),
      locals: [{ nodeId: "here", layer: "L0", publicKey: newUserNkey().publicKey }],
      routingConfig: path.join(REPO, "deploy", "routing.yaml"),
      log: quiet,
      say: () => {},
    },
    AbortSignal.timeout(60_000),
  );

beforeAll(async () => {
  folder = tempDir("tiermesh-join-");
  [port = 0] = await freePorts(1);
  broker = await startBroker();
  operator = new MeshClient(await connectBus("operator", broker.addressOf("operator"), quiet));
});
afterAll(async () => {
  await operator.close();
  await broker.stop();
  await folder.remove();
});

/** A machine with an empty state folder. */
function machine(): string {
  const dir = tempDir("tiermesh-machine-");
  onTestFinished(() => dir.remove());
  return dir.path;
}

/** The keeper has done with the requests so far: the broker reads no accounts anew, for then it cuts logins under way. */
const settled = () => listNodes(operator);

/** Speaks as the machine that joined in this folder. */
async function speaker(stateDir: string): Promise<RawNats> {
  await settled();
  const client = await RawNats.open(port, readNkeyFile(readMember(stateDir)?.nkey_file ?? ""));
  onTestFinished(() => client[Symbol.asyncDispose]());
  return client;
}

const heartbeat = (node: string, layer = "L1") => `mesh.main.heartbeat.${layer}.${node}`;
/** That what this one says arrives; under another's name it does not. */
async function speaks(client: RawNats, node: string): Promise<void> {
  const heard = nextMessage(operator.bus.nc.subscribe("mesh.main.heartbeat.*.*"), ({ data }) => data.length === 1);
  await operator.bus.nc.flush();
  client.publish(heartbeat("somebody-else"), "!");
  client.publish(heartbeat(node), "!");
  expect((await heard).subject).toBe(heartbeat(node));
  await client.flush();
  expect(client.errors).toEqual([`'Permissions Violation for Publish to "${heartbeat("somebody-else")}"'`]);
}

const stateOf = async (node: string) => (await settled()).find(({ node_id }) => node_id === node)?.state;

test("a machine joins by a token, and speaks as the node that it is and as no other", async () => {
  const { token, entry } = await addNode(operator, "gpu-1", "L1", USUAL);
  expect(entry.state).toBe("pending");
  const stateDir = machine();
  expect(await joinMesh(token, stateDir)).toMatchObject({ node_id: "gpu-1", layer: "L1", cell: "main" });
  await speaks(await speaker(stateDir), "gpu-1");
  expect(await stateOf("gpu-1")).toBe("joined");
  // Neither of its secrets ever came to the broker.
  const kept = ["accounts.conf", "nodes.json", "nats-server.conf"].map((file) =>
    readFileSync(path.join(folder.path, "bus", file), "utf8"),
  );
  const seeds = [readFileSync(readMember(stateDir)?.nkey_file ?? "", "utf8").trim(), readJoinToken(token).seed];
  for (const seed of seeds) expect(kept.join("")).not.toContain(seed);
});

test("a token is good once: on a second machine it is refused, and the first node still speaks", async () => {
  const { token } = await addNode(operator, "gpu-2", "L1", USUAL);
  const [first, second] = [machine(), machine()];
  await joinMesh(token, first);
  await expect(joinMesh(token, second)).rejects.toMatchObject({
    code: "unauthorized",
    message: expect.stringContaining("tiermesh node add gpu-2 --replace"),
  });
  expect(readMember(second)).toBeUndefined();
  await speaks(await speaker(first), "gpu-2");
});

test("two machines with one token at the same moment: one joins, the other is refused", async () => {
  const { token } = await addNode(operator, "gpu-3", "L1", USUAL);
  const dirs = [machine(), machine()];
  const outcomes = await Promise.allSettled(dirs.map((dir) => joinMesh(token, dir)));
  expect(outcomes.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
  const winner = dirs.find((dir) => readMember(dir) !== undefined) ?? "";
  await speaks(await speaker(winner), "gpu-3");
});

test("a join whose answer was lost is done again with the same token, to the same end", async () => {
  const { token } = await addNode(operator, "gpu-4", "L1", USUAL);
  const stateDir = machine();
  const { nkey_file } = await joinMesh(token, stateDir);
  const { publicKey } = readNkeyFile(nkey_file);
  // As if the machine had died before it could write down that it is a member.
  writeFileSync(path.join(path.dirname(nkey_file), "bus.nk.joining"), readFileSync(nkey_file), { mode: 0o600 });
  expect(readNkeyFile((await joinMesh(token, stateDir)).nkey_file).publicKey).toBe(publicKey);
});

test("the token's user may ask to join its node, and nothing else", async () => {
  const { token } = await addNode(operator, "gpu-5", "L1", USUAL);
  const holder = userNkeyOf(readJoinToken(token).seed, "the token");
  await using client = await RawNats.open(port, holder);
  const forbidden = [
    "mesh.main.registry.join.gpu-1",
    "mesh.main.registry.add",
    heartbeat("gpu-5"),
    "$KV.tiermesh-nodes-main.gpu-5",
  ];
  for (const subject of forbidden) client.publish(subject, "{}");
  client.subscribe("mesh.main.>");
  await client.flush();
  expect(client.errors).toHaveLength(forbidden.length + 1);
  const inbox = `${holder.inbox}.1`;
  client.subscribe(inbox);
  client.publish("mesh.main.registry.join.gpu-5", '{"public_key":"mine"}', inbox);
  const answer = JSON.parse((await client.next(({ subject }) => subject === inbox)).body) as object;
  expect(answer).toMatchObject({ error: { code: "bad_request", field: "public_key" } });
  expect(await stateOf("gpu-5")).toBe("pending");
});

test("a token that is too old is refused, and its user is gone from the broker", async () => {
  // 3.6 seconds: the shortest that may be asked for.
  const { token } = await addNode(operator, "gpu-6", "L1", { hours: 0.001, replace: false });
  const holder = userNkeyOf(readJoinToken(token).seed, "the token");
  const accounts = () => readFileSync(path.join(folder.path, "bus", "accounts.conf"), "utf8");
  expect(accounts()).toContain(holder.publicKey);
  await waitFor(() => expect(accounts()).not.toContain(holder.publicKey));
  await expect(joinMesh(token, machine())).rejects.toMatchObject({ code: "unauthorized" });
});

test("a token that another has replaced is refused; the newer one is good", async () => {
  const old = await addNode(operator, "gpu-7", "L1", USUAL);
  const { token } = await addNode(operator, "gpu-7", "L1", USUAL);
  await expect(joinMesh(old.token, machine())).rejects.toMatchObject({ code: "unauthorized" });
  const stateDir = machine();
  await joinMesh(token, stateDir);
  await speaks(await speaker(stateDir), "gpu-7");
  await expect(addNode(operator, "gpu-7", "L1", USUAL)).rejects.toMatchObject({ code: "conflict" });
  await addNode(operator, "gpu-7", "L1", { hours: 1, replace: true });
  const nkeyFile = readMember(stateDir)?.nkey_file;
  await expect(connectBus("agent", { url: broker.addressOf("operator").url, nkeyFile }, quiet)).rejects.toMatchObject({
    code: "unauthorized",
  });
});

test("a node that is revoked is cut within a second, and its key is refused when it comes back", async () => {
  const { token } = await addNode(operator, "gpu-8", "L1", USUAL);
  const stateDir = machine();
  const member = await joinMesh(token, stateDir);
  await settled();
  await using bystander = await RawNats.open(port, readNkeyFile(broker.users.keyFile("client")));
  const bus = await connectBus(
    "agent",
    { url: broker.addressOf("operator").url, nkeyFile: member.nkey_file, cell: "main" },
    quiet,
  );
  onTestFinished(() => bus.nc.close());
  const cut = Promise.withResolvers<number>();
  void (async () => {
    for await (const { type } of bus.nc.status()) if (type === "disconnect") cut.resolve(performance.now());
  })();
  const askedAt = performance.now();
  await revokeNode(operator, "gpu-8", "stolen");
  expect((await cut.promise) - askedAt).toBeLessThan(1000);
  await expect(
    connectBus("agent", { url: broker.addressOf("operator").url, nkeyFile: member.nkey_file, cell: "main" }, quiet),
  ).rejects.toMatchObject({ code: "unauthorized" });
  expect(bus.connected()).toBe(false);
  await bystander.flush();
  await expect(joinMesh(token, machine())).rejects.toMatchObject({ code: "unauthorized" });
});

test("all of it is on record, with who did it", async () => {
  const js = jetstream(operator.bus.nc);
  const { token } = await addNode(operator, "gpu-9", "L2", USUAL);
  await joinMesh(token, machine());
  await revokeNode(operator, "gpu-9", "over");
  const manager = await js.jetstreamManager(false);
  const events = await waitFor(async () => {
    const found: object[] = [];
    for (let seq = 1; ;) {
      const query = { seq, next_by_subj: "mesh.main.event.node_admitted.none.keeper.*" };
      const message = await manager.streams.getMessage("AUDIT", query).catch(() => null);
      if (message === null) break;
      found.push(message.json());
      seq = message.seq + 1;
    }
    const mine = found.filter((event) => (event as { node_id?: string }).node_id === "gpu-9");
    expect(mine).toHaveLength(3);
    return mine;
  });
  expect(events).toMatchObject([
    { state: "pending", layer: "L2" },
    { state: "joined", by: expect.stringContaining("token by ") },
    { state: "revoked", reason: "over" },
  ]);
});

test("the auditor cannot have JetStream say for it who may join", async () => {
  await using auditor = await RawNats.open(port, readNkeyFile(broker.users.keyFile("auditor")));
  const inbox = `${readNkeyFile(broker.users.keyFile("auditor")).inbox}.1`;
  auditor.subscribe(inbox);
  const body = JSON.stringify({ node_id: "evil", layer: "L1", join_key: newUserNkey().publicKey, by: "me" });
  auditor.publish("mesh.main.event.message_rejected.none.auditor.auditor", body, inbox);
  const { seq } = JSON.parse((await auditor.next(({ subject }) => subject === inbox)).body) as { seq: number };
  const config = {
    durable_name: "auditor",
    deliver_policy: "by_start_sequence",
    opt_start_seq: seq,
    ack_policy: "none",
  };
  auditor.publish(
    "$JS.API.CONSUMER.DURABLE.CREATE.AUDIT.auditor",
    JSON.stringify({ stream_name: "AUDIT", config }),
    inbox,
  );
  await auditor.next(({ body: text }) => text.includes("consumer_create_response") && text.includes('"config"'));
  const events = operator.bus.nc.subscribe("mesh.main.event.>");
  await operator.bus.nc.flush();
  const told = nextMessage(events, ({ subject }) => subject.includes(".event.message_rejected.none.keeper."));
  auditor.publish("$JS.API.CONSUMER.MSG.NEXT.AUDIT.auditor", "1", "mesh.main.registry.add");
  await auditor.flush();
  expect((await told).json()).toMatchObject({ subject_kind: "registry", code: "bad_request", field: "reply" });
  expect(await stateOf("evil")).toBeUndefined();
  expect(auditor.errors).toEqual([]);
});

test("nodes that joined speak again after the server was killed, and after the broker was started anew", async () => {
  const { token } = await addNode(operator, "gpu-10", "L1", USUAL);
  const waiting = await addNode(operator, "gpu-11", "L1", USUAL);
  const stateDir = machine();
  await joinMesh(token, stateDir);
  const { pid } = broker.server;
  process.kill(pid, "SIGKILL");
  await waitFor(() => expect(broker.server.pid).not.toBe(pid));
  await waitFor(async () => speaks(await speaker(stateDir), "gpu-10"));
  await waitFor(async () => expect(await stateOf("gpu-10")).toBe("joined"));

  await broker.stop();
  const lastKnown = NodeEntry.array().parse(
    JSON.parse(readFileSync(path.join(folder.path, "bus", "nodes.json"), "utf8")),
  );
  expect(lastKnown.map(({ node_id }) => node_id)).toEqual(expect.arrayContaining(["gpu-10", "gpu-11"]));
  broker = await startBroker();
  await waitFor(() => expect(operator.bus.connected()).toBe(true));
  await speaks(await speaker(stateDir), "gpu-10");
  expect(await stateOf("gpu-8")).toBe("revoked");
  // A token that was out is good still.
  const late = machine();
  await joinMesh(waiting.token, late);
  await speaks(await speaker(late), "gpu-11");
});

test("a keeper that finds its list of nodes gone has it from the bucket again", async () => {
  await broker.stop();
  const file = path.join(folder.path, "bus", "nodes.json");
  writeFileSync(file, "garbage");
  broker = await startBroker();
  await waitFor(() => expect(operator.bus.connected()).toBe(true));
  expect(await stateOf("gpu-1")).toBe("joined");
  expect(existsSync(file) && readFileSync(file, "utf8")).toContain("gpu-1");
  expect(readFileSync(path.join(folder.path, "bus", "accounts.conf"), "utf8")).toContain("# agent gpu-1, L1");
});
