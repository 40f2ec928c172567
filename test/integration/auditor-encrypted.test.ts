import { mkdirSync, readFileSync, readdirSync, statSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { exportLog } from "../../cli/audit/export.ts";
import { StorageKeys, newStorageKey } from "../../auditor/at-rest/storage-keys.ts";
import { parseVerifierKey } from "../../auditor/tlog/keys.ts";
import { verifyLog } from "../../auditor/tlog/verify.ts";
import type { EventPublisher } from "../../service/events.ts";
import { startAuditor, type AuditorProc } from "../kit/auditor-proc.ts";
import type { TestBus } from "../kit/bus.ts";
import { startEventBus } from "../kit/event-bus.ts";
import { buildForeignChecker, type ForeignChecker } from "../kit/foreign-go.ts";
import { tempDir } from "../kit/temp-dir.ts";
import { waitFor } from "../kit/wait-for.ts";

const dir = tempDir("tiermesh-sealed-log-");
const [first, second] = [path.join(dir.path, "audit"), path.join(dir.path, "audit-2")];
const keys = [newStorageKey(), newStorageKey(), newStorageKey()] as const;
let server: TestBus;
let events: EventPublisher;
let stop: () => Promise<void>;
let go: ForeignChecker;
let recorded = 0;

beforeAll(async () => {
  mkdirSync(path.join(dir.path, "go"));
  go = buildForeignChecker(path.join(dir.path, "go"));
  ({ server, events, stop } = await startEventBus());
});
afterAll(async () => {
  await stop();
  await dir.remove();
});

const start = (folder: string, env: Record<string, string>, wait = true) => startAuditor(server, folder, { env, wait });

async function record(count: number): Promise<void> {
  for (let i = 0; i < count; i++)
    await events.record("node_left", { node_id: "very-secret-node", layer: "L1", reason: null }).durable;
  recorded += count;
}

/** Waits until all that was recorded is signed, and in the search index. */
async function caughtUp({ health }: AuditorProc): Promise<void> {
  await waitFor(async () => {
    const { sequence, search, tree_size: size } = await health();
    expect(Number(size)).toBeGreaterThanOrEqual(recorded);
    expect(size).toBe(sequence);
    expect(search).toMatchObject({ indexed: size, problem: null });
  });
}

/** Files below a folder that show the node's name, or an event's type. */
function telling(folder: string): string[] {
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).map((name) => path.join(folder, name));
  return files.filter((file) => {
    const data = statSync(file).isFile() ? readFileSync(file) : Buffer.alloc(0);
    return data.includes("very-secret-node") || data.includes("node_left");
  });
}

const verified = (folder: string, texts: readonly string[]) =>
  verifyLog(path.join(folder, "tlog"), parseVerifierKey(readFileSync(path.join(folder, "log-key.pub"), "utf8")), {
    keys: new StorageKeys(texts),
  });

test("an auditor encrypts the log that it had, a killed one goes on, and a standby does so with a key of its own", async () => {
  const plain = await start(first, {});
  await record(300);
  await caughtUp(plain);
  expect(telling(first).length).toBeGreaterThan(3);
  plain.kill("SIGTERM");
  await plain.exited;

  const one = await start(first, { TIERMESH_AUDIT_STORAGE_KEY: keys[0] });
  await waitFor(async () => expect((await one.health())["encryption"]).toMatchObject({ state: "done", failed: [] }));
  const standbyEnv = { TIERMESH_AUDITOR_ID: "auditor-2", TIERMESH_AUDIT_KEY: path.join(first, "log-key") };
  const standby = await start(second, { ...standbyEnv, TIERMESH_AUDIT_STORAGE_KEY: keys[1] });
  await record(100);
  await Promise.all([one, standby].map(caughtUp));
  one.kill("SIGKILL");
  await one.exited;
  expect([...telling(first), ...telling(second)]).toEqual([]);

  // Its key is changed meanwhile.
  const changed = await start(first, { TIERMESH_AUDIT_STORAGE_KEY: `${keys[2]} ${keys[0]}` });
  await record(100);
  await waitFor(async () =>
    expect((await changed.health())["encryption"]).toMatchObject({ state: "done", failed: [] }),
  );
  await Promise.all([changed, standby].map(caughtUp));
  for (const proc of [changed, standby]) proc.kill("SIGTERM");
  await Promise.all([changed.exited, standby.exited]);
  expect([...telling(first), ...telling(second)]).toEqual([]);
  const [a, b] = [verified(first, [keys[2]]), verified(second, [keys[1]])];
  expect([a.problems, b.problems]).toEqual([[], []]);
  expect(a.checkpoint?.size).toBeGreaterThanOrEqual(500);
}, 60_000);

test("with another key it says which one is missing and begins no second log; its export is what Go accepts", async () => {
  const before = readdirSync(first).toSorted();
  const proc = await start(first, { TIERMESH_AUDIT_STORAGE_KEY: keys[1], TIERMESH_HEALTH_PORT: "0" }, false);
  await proc.waitForLine(/is encrypted by storage key [0-9a-f]{8}, which is not here/, 30_000);
  proc.kill("SIGKILL");
  await proc.exited;
  expect(readdirSync(first).filter((name) => !["lock", ...before].includes(name))).toEqual([]);
  vi.stubEnv("TIERMESH_AUDIT_STORAGE_KEY", keys[2]);
  const quiet = vi.spyOn(process.stdout, "write").mockReturnValue(true);
  const copy = path.join(dir.path, "copy");
  await exportLog(copy, { offline: first, key: path.join(first, "log-key.pub"), json: true });
  quiet.mockRestore();
  vi.unstubAllEnvs();
  expect(telling(copy).length).toBeGreaterThan(1);
  const key = readFileSync(path.join(first, "log-key.pub"), "utf8").trim();
  // Where there is no Go nothing is checked by it.
  const [exported, encrypted] = [copy, path.join(first, "tlog")].map((folder) =>
    go.absent === undefined ? go.run(folder, key).status : "no Go here",
  );
  expect([exported, encrypted]).toEqual(go.absent === undefined ? [0, 1] : ["no Go here", "no Go here"]);
});
