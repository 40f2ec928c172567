import { randomBytes } from "node:crypto";
import { statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fetchArtefact } from "../../agent/upgrade/fetch-artefact.ts";
import { EVENTS, RELEASE_CHUNK_BYTES } from "../../bus-schemas/index.ts";
import { addRelease, readSignedFile } from "../../cli/releases/add.ts";
import { takeUpgradeLock } from "../../cli/upgrade/lock.ts";
import { connectBus, type Bus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { fileDigest, newSigningKeys, writeSignature } from "../../service/release-signature.ts";
import { ReleaseStream } from "../../service/release-stream.ts";
import { startGuardedBus, type GuardedBus } from "../kit/guarded-bus.ts";
import { NODES } from "../kit/hostile-jobs.ts";
import { RawNats } from "../kit/raw-nats.ts";
import { tempDir } from "../kit/temp-dir.ts";

/** Releases on a broker with permissions: an operator brings them, the keeper hands them out, and one upgrades at a time. */

const KEYS = newSigningKeys();
const folder = tempDir("tiermesh-releases-");
const never = new AbortController().signal;
let guarded: GuardedBus;
let operator: Bus;
let agent: Bus;
let stream: ReleaseStream;

beforeAll(async () => {
  guarded = await startGuardedBus();
  const log = createLog("test", "silent");
  operator = await connectBus("operator", guarded.addressOf("operator"), log);
  agent = await connectBus("agent", guarded.addressOf(NODES.cloud), log);
  stream = await ReleaseStream.open(operator);
});
afterAll(async () => {
  await agent?.drain();
  await operator?.drain();
  await guarded?.[Symbol.asyncDispose]();
  await folder.remove();
});

/** A file of so many bytes, signed for a system. */
async function signed(
  version: string,
  system: string,
  bytes = 2 * RELEASE_CHUNK_BYTES + 7,
  same?: Buffer,
): Promise<string> {
  const file = path.join(folder.path, `${version}-${system}`);
  writeFileSync(file, same ?? randomBytes(bytes));
  const [platform = "", arch = ""] = system.split("-");
  const sha256 = await fileDigest(file);
  const statement = {
    v: 1 as const,
    product: "tiermesh-agent",
    version,
    platform,
    arch,
    bytes: statSync(file).size,
    sha256,
  };
  writeFileSync(`${file}.sig`, writeSignature(statement, KEYS.privateKeyPem));
  return file;
}
const add = async (...files: string[]) =>
  addRelease(
    stream,
    await Promise.all(files.map((file) => readSignedFile(file, KEYS.publicKeyPem))),
    "ada",
    () => undefined,
  );
const fetch = (file: { sha256: string; bytes: number }) =>
  fetchArtefact(
    { bus: agent, nodeId: NODES.cloud, folder: path.join(folder.path, "fetched"), patienceMs: 0 },
    file,
    () => undefined,
    never,
  );

test("what an operator brings an agent gets whole, by the keeper; another system comes to the same release", async () => {
  const [linux, mac] = [await signed("1.0.0", "linux-x64"), await signed("1.0.0", "darwin-arm64")];
  const { files } = await add(linux);
  expect(await fileDigest(await fetch(files[0] ?? { sha256: "", bytes: 0 }))).toBe(await fileDigest(linux));
  expect((await add(mac)).files.map(({ system }) => system)).toEqual(["linux-x64", "darwin-arm64"]);
  expect((await stream.list()).map(({ version, by }) => [version, by])).toEqual([["1.0.0", "ada"]]);
});

test("what comes and goes is on record: by the program's own name, and by the key that took it away", async () => {
  const seen: string[] = [];
  const heard = operator.listen(operator.subjects.events, (msg) => {
    if (!msg.subject.includes(".release_changed.")) return;
    const { action, by, files, version } = EVENTS.release_changed.data.parse(msg.json());
    seen.push(`${action} ${version} ${files.map(({ system }) => system).join()} ${by?.startsWith("U") ? "a key" : by}`);
  });
  await operator.nc.flush();
  await add(await signed("1.0.1+b.2", "linux-x64"));
  await add(await signed("1.0.1+b.2", "win32-x64"));
  await stream.remove("1.0.1+b.2");
  await expect
    .poll(() => seen)
    .toEqual(["added 1.0.1+b.2 linux-x64 ada", "added 1.0.1+b.2 linux-x64,win32-x64 ada", "removed 1.0.1+b.2  a key"]);
  heard.unsubscribe();
});

test("a release that goes takes its bytes along, but for those that another one has as well", async () => {
  const shared = randomBytes(1000);
  const [one, two] = [await signed("1.1.0", "linux-x64", 0, shared), await signed("1.2.0+b.1", "linux-x64", 0, shared)];
  const [file] = (await add(one)).files;
  await add(two);
  expect(await stream.remove("1.1.0")).toBe(true);
  expect((await stream.list()).map(({ version }) => version)).toEqual(["1.2.0+b.1", "1.0.0"]);
  const known = file ?? { sha256: "", bytes: 1 };
  expect(await stream.has(known)).toBe(true);
  await stream.remove("1.2.0+b.1");
  await expect(fetch(known)).rejects.toMatchObject({ problem: "release_missing" });
  expect(await stream.remove("1.2.0+b.1")).toBe(false);
});

test("what is not signed, changed after that, of two versions or another program than before is not added", async () => {
  const file = await signed("1.3.0", "linux-x64");
  await expect(readSignedFile(`${file}.sig`, undefined)).rejects.toMatchObject({ code: "bad_config", field: "file" });
  await expect(readSignedFile(file, newSigningKeys().publicKeyPem)).rejects.toMatchObject({ code: "forbidden" });
  await add(file);
  await expect(add(await signed("1.3.0", "linux-x64"))).rejects.toMatchObject({ code: "conflict", field: "file" });
  await expect(add(await signed("1.4.0", "linux-x64"), await signed("1.4.1", "linux-arm64"))).rejects.toMatchObject({
    field: "file",
  });
  writeFileSync(file, "x", { flag: "a" });
  await expect(readSignedFile(file, undefined)).rejects.toThrow("not the file that was signed");
});

test("a stream that is full says so, and what to do", async () => {
  const manager = await jetstreamManager(operator.nc, { checkAPI: false });
  const { releaseStream } = operator.subjects;
  const keeper = await connectBus("keeper", guarded.addressOf("keeper"), createLog("test", "silent"));
  const keepers = await jetstreamManager(keeper.nc, { checkAPI: false });
  const { config, state } = await manager.streams.info(releaseStream);
  await keepers.streams.update(releaseStream, { ...config, max_bytes: state.bytes + RELEASE_CHUNK_BYTES });
  await expect(add(await signed("3.0.0", "linux-x64", 9 * RELEASE_CHUNK_BYTES))).rejects.toThrow("tiermesh release rm");
  // Nothing of it stays and takes room.
  expect((await manager.streams.info(releaseStream)).state.bytes).toBe(state.bytes);
  await keepers.streams.update(releaseStream, config);
  await keeper.drain();
});

test("an agent may ask for pieces in its own name only, has no word with JetStream, and answers go to inboxes only", async () => {
  await using thief = await RawNats.open(guarded.port, guarded.keys.cloud);
  const { releaseStream, releaseGet, release, upgradeLock } = agent.subjects;
  const refused = [releaseGet(NODES.home), release("1_0_0"), upgradeLock, `$JS.API.STREAM.MSG.GET.${releaseStream}`];
  for (const subject of refused) thief.publish(subject, "{}");
  await thief.flush();
  expect(thief.errors).toEqual(refused.map((subject) => `'Permissions Violation for Publish to "${subject}"'`));
  const heard: string[] = [];
  operator.listen(operator.subjects.nodesGone, ({ subject }) => heard.push(subject));
  await operator.nc.flush();
  // In its own name, but with a reply that would make the keeper say, as only it may, that another node is gone.
  const [file] = (await stream.list())[0]?.files ?? [];
  const body = JSON.stringify({ sha256: file?.sha256, chunk: 0 });
  thief.publish(releaseGet(NODES.cloud), body, agent.subjects.nodeGone(NODES.home));
  thief.publish(releaseGet(NODES.cloud), "not json", `${guarded.keys.cloud.inbox}.a`);
  thief.subscribe(`${guarded.keys.cloud.inbox}.>`);
  thief.publish(releaseGet(NODES.cloud), JSON.stringify({ sha256: "x", chunk: 0 }), `${guarded.keys.cloud.inbox}.b`);
  thief.publish(releaseGet(NODES.cloud), body, `${guarded.keys.cloud.inbox}.c`);
  const { body: answer } = await thief.next(({ subject }) => subject.endsWith(".b"));
  // Read after the first one.
  await thief.next(({ subject }) => subject.endsWith(".c"));
  await operator.nc.flush();
  expect(JSON.parse(answer)).toMatchObject({ error: { code: "bad_request", field: "sha256" } });
  expect(heard).toEqual([]);
});

test("of two operators one upgrades; when that one is gone for long the other may", async () => {
  let nowMs = Date.now();
  const take = (id: string) => takeUpgradeLock(operator, { by: id, id, version: "1.0.0" }, () => nowMs);
  const held = await take("ada");
  await expect(take("bob")).rejects.toMatchObject({ code: "conflict", message: expect.stringContaining("ada on") });
  await held.release();
  const killed = await take("bob");
  expect(killed.lost()).toBeUndefined();
  nowMs += 91_000;
  const next = await take("eve");
  await killed.release();
  await expect(take("ada")).rejects.toThrow("eve on");
  await next.release();
});
