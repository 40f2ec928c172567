import { createHash, randomBytes } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { headers, type Msg, type MsgHdrsImpl } from "@nats-io/nats-core";
import { expect, onTestFinished, test } from "vitest";
import {
  MeshError,
  RELEASE_CHUNK_BYTES,
  chunkCount,
  subjects,
  type EventData,
  type ReleaseFile,
} from "../../bus-schemas/index.ts";
import { createLog } from "../../service/log.ts";
import { newSigningKeys, writeSignature } from "../../service/release-signature.ts";
import { eventually } from "../../test/kit/mesh.ts";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { fetchArtefact } from "./fetch-artefact.ts";
import { outcomeFile, readWish, wishFiles } from "./files.ts";
import { upgradePlaceOf } from "./place.ts";
import type { UpgradeError } from "./upgrade-error.ts";
import { Upgrader, type UpgradeOrder } from "./upgrader.ts";

const KEYS = newSigningKeys();
const never = new AbortController().signal;
const digest = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

/** A program of some pieces, signed, and a bus beside whose keeper it lies. */
function release(version = "1.1.0", more: object = {}) {
  const bytes = randomBytes(3 * RELEASE_CHUNK_BYTES + 1000);
  const [platform, arch] = ["linux", "x64"];
  const sha256 = digest(bytes);
  const statement = { v: 1 as const, product: "tiermesh-agent", version, platform, arch, bytes: bytes.length, sha256 };
  const signature = writeSignature({ ...statement, ...more }, KEYS.privateKeyPem);
  const file: ReleaseFile = { system: "linux-x64", bytes: bytes.length, sha256, signature };
  const asked: number[] = [];
  const state = {
    /** What the keeper says of a piece, in place of its bytes. */
    says: (_chunk: number): Buffer | MeshError | undefined => undefined,
  };
  const request = async (_subject: string, body: string) => {
    const { chunk } = JSON.parse(body) as { chunk: number };
    asked.push(chunk);
    const at = chunk * RELEASE_CHUNK_BYTES;
    const said = state.says(chunk) ?? bytes.subarray(at, at + RELEASE_CHUNK_BYTES);
    const refused = said instanceof MeshError;
    const head = headers() as MsgHdrsImpl;
    head.set("Content-Type", refused ? "application/json" : "application/octet-stream");
    const data = refused ? Buffer.from(JSON.stringify({ error: said.toWire() })) : said;
    return { data, headers: head, json: () => JSON.parse(data.toString()) as unknown } as unknown as Msg;
  };
  return { asked, bytes, file, state, version, bus: { subjects: subjects(), nc: { request } } as never };
}

function folderOf() {
  const folder = tempDir("tiermesh-fetch-");
  onTestFinished(() => folder.remove());
  return folder.path;
}

test("a release is fetched piece by piece, and goes on where an earlier try ended", async () => {
  const { asked, bus, bytes, file } = release();
  const folder = folderOf();
  writeFileSync(path.join(folder, "f".repeat(64)), "left over from another release");
  const done: number[] = [];
  const fetch = () => fetchArtefact({ bus, nodeId: "n1", folder }, file, (count) => done.push(count), never);
  const target = await fetch();
  expect([digest(readFileSync(target)), statSync(target).mode & 0o777]).toEqual([digest(bytes), 0o600]);
  expect([asked, done.at(-1), readdirSync(folder)]).toEqual([[0, 1, 2, 3], bytes.length, [file.sha256]]);
  await fetch();
  expect(asked).toHaveLength(4);
  // Cut off within the third piece.
  rmSync(target);
  writeFileSync(`${target}.part`, bytes);
  truncateSync(`${target}.part`, 2 * RELEASE_CHUNK_BYTES + 5);
  await fetch();
  expect([asked.slice(4), digest(readFileSync(target))]).toEqual([[2, 3], file.sha256]);
});

test("a changed piece, a short one and a missing one are told, and nothing is kept of a file that is not the signed one", async () => {
  const { asked, bus, file, state } = release();
  const folder = folderOf();
  const fetch = (patienceMs = 0) =>
    fetchArtefact({ bus, nodeId: "n1", folder, patienceMs }, file, () => undefined, never);
  state.says = (chunk) => (chunk === 1 ? Buffer.alloc(RELEASE_CHUNK_BYTES, 7) : undefined);
  await expect(fetch()).rejects.toMatchObject({ problem: "bad_artefact", code: "forbidden" });
  expect(readdirSync(folder)).toEqual([]);
  state.says = (chunk) => (chunk === 2 ? Buffer.alloc(10) : undefined);
  await expect(fetch()).rejects.toMatchObject({ problem: "bad_artefact" });
  state.says = (chunk) => (chunk === 3 ? new MeshError("not_found", "gone") : undefined);
  await expect(fetch()).rejects.toMatchObject({ problem: "release_missing", code: "not_found" });
  let busy = 2;
  asked.length = 0;
  state.says = () => (busy-- > 0 ? new MeshError("all_busy", "later", { retryAfterMs: 1 }) : undefined);
  await fetch(10_000);
  expect(asked.filter((chunk) => chunk === asked[0])).toHaveLength(3);
  await expect(
    fetchArtefact(
      { bus, nodeId: "n1", folder },
      { ...file, sha256: "a".repeat(64), bytes: 2 ** 60 },
      () => undefined,
      never,
    ),
  ).rejects.toMatchObject({ problem: "no_space" });
});

/** An agent that runs 1.0.0 as an installed service. */
function installed({ takeUpLimitMs = 60_000, key = KEYS.publicKeyPem }: { takeUpLimitMs?: number; key?: string } = {}) {
  const source = release();
  const stateDir = folderOf();
  const upgradeDir = path.join(stateDir, "root");
  mkdirSync(upgradeDir);
  const events: EventData<"node_upgraded">[] = [];
  const stop = new AbortController();
  onTestFinished(() => stop.abort());
  let woken = 0;
  const start = (version = "1.0.0") =>
    new Upgrader({
      bus: source.bus,
      nodeId: "n1",
      version,
      place: () => ({ stateDir, upgradeDir, releaseKey: key, platform: "linux", arch: "x64" }),
      wake: async () => void woken++,
      events: { record: (_: string, data: EventData<"node_upgraded">) => events.push(data) } as never,
      log: createLog("test", "silent"),
      signal: stop.signal,
      lookEveryMs: 5,
      takeUpLimitMs,
    });
  const order = (more: Partial<UpgradeOrder> = {}): UpgradeOrder => ({
    command: "upgrade",
    mode: "go",
    id: "u1",
    version: "1.1.0",
    files: [source.file],
    wait_seconds: 60,
    by: "ada",
    ...more,
  });
  const rootSays = (phase: string, more: object = {}) => {
    const outcome = {
      v: 1,
      id: "u1",
      phase,
      from: "1.0.0",
      to: "1.1.0",
      problem: null,
      message: null,
      at: "2026-11-26T08:00:00Z",
    };
    writeFileSync(outcomeFile(upgradeDir), JSON.stringify({ ...outcome, ...more }));
  };
  return { ...source, events, files: wishFiles(stateDir), order, rootSays, start, stateDir, woken: () => woken };
}

test("an order is checked, fetched and handed to root's part; what comes of it goes on record once", async () => {
  const { events, file, files, order, rootSays, start, woken } = installed();
  const upgrader = start();
  expect(upgrader.state).toMatchObject({ phase: "idle", version: "1.0.0" });
  await upgrader.upgrade(order({ mode: "check" }), () => undefined);
  expect(existsSync(files.artefact(file.sha256))).toBe(false);
  await upgrader.upgrade(order({ mode: "fetch" }), () => undefined);
  expect([upgrader.state, existsSync(files.artefact(file.sha256)), woken()]).toMatchObject([
    { phase: "verified", id: "u1" },
    true,
    0,
  ]);
  const phases: string[] = [];
  await upgrader.upgrade(order(), ({ phase }) => phases.push(phase));
  expect([upgrader.state.phase, woken(), phases]).toEqual(["handed_over", 1, ["verifying"]]);
  expect(readWish(files.wish)).toMatchObject({
    id: "u1",
    action: "upgrade",
    from: "1.0.0",
    sha256: file.sha256,
    by: "ada",
  });
  await expect(upgrader.upgrade(order({ id: "u2" }), () => undefined)).rejects.toMatchObject({ problem: "busy" });
  expect(upgrader.state).toMatchObject({ id: "u1", phase: "handed_over" });
  rootSays("switching");
  expect(upgrader.state.phase).toBe("switching");
  // The new program's first life sees the end.
  const next = start("1.1.0");
  next.start();
  rootSays("healthy");
  await eventually("recorded", () => events.length > 0);
  expect(events[0]).toEqual({
    node_id: "n1",
    action: "upgrade",
    outcome: "healthy",
    from: "1.0.0",
    to: "1.1.0",
    sha256: file.sha256,
    problem: null,
    by: "ada",
  });
  expect([next.state, existsSync(files.artefact(file.sha256))]).toMatchObject([
    { phase: "healthy", version: "1.1.0" },
    false,
  ]);
  start("1.1.0").start();
  rootSays("rolled_back", { id: "another" });
  expect(next.state.phase).toBe("handed_over");
});

test.each<[string, Partial<UpgradeOrder>, object]>([
  ["another system", { files: [{ ...release().file, system: "win32-x64" }] }, { problem: "wrong_system" }],
  ["an older version", { version: "0.9.0" }, { problem: "downgrade", code: "conflict" }],
  ["a signature of another version", { version: "1.2.0" }, { problem: "bad_signature" }],
  [
    "another program's signature",
    { files: [{ ...release().file, sha256: "0".repeat(64) }] },
    { problem: "bad_signature" },
  ],
  ["no signature", { files: [{ ...release().file, signature: "none" }] }, { problem: "bad_signature" }],
])("%s is refused before a byte is fetched, and the state says why", async (_, more, error) => {
  const { asked, order, start, files } = installed();
  const upgrader = start();
  await expect(upgrader.upgrade(order(more), () => undefined)).rejects.toMatchObject(error);
  expect(upgrader.state).toMatchObject({ phase: "failed", id: "u1", problem: (error as UpgradeError).problem });
  expect([asked, existsSync(files.wish)]).toEqual([[], false]);
});

test("what nobody takes up is given up and told, so that it does not happen later", async () => {
  const { events, files, order, start } = installed({ takeUpLimitMs: 20 });
  const upgrader = start();
  await upgrader.rollBack({ command: "rollback", id: "r1", wait_seconds: 60 });
  await eventually("given up", () => upgrader.state.problem === "not_taken_up");
  expect([existsSync(files.wish), events]).toMatchObject([
    false,
    [{ action: "rollback", outcome: "failed", problem: "not_taken_up" }],
  ]);
  await upgrader.upgrade(order({ mode: "check" }), () => undefined);
});

test("an agent that is no installed service, came as a package or trusts no key says so", () => {
  const place = (env: Record<string, string>) => () => upgradePlaceOf(env, "/state");
  expect(place({})).toThrow(expect.objectContaining({ problem: "not_installed", code: "not_supported" }));
  const env = { TIERMESH_UPGRADE_DIR: "/x", TIERMESH_RELEASE_KEY: "/no/such/key" };
  expect(place(env)).toThrow(expect.objectContaining({ problem: "release_key_missing" }));
  expect(chunkCount(1)).toBe(1);
});
