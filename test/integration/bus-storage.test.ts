import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import {
  changeStorageKey,
  forgetFormerKey,
  keptStorageKey,
  obtainNatsServer,
  startEmbeddedBus,
} from "../../service/bus-server/index.ts";
import { type TempDir, tempDir } from "../kit/temp-dir.ts";

/** What a server has stored: in clear or encrypted, and by which key. */

const PLAIN = "plainly-readable-words";
let binary: string;
let folder: TempDir;

beforeAll(async () => {
  binary = (await obtainNatsServer({ onProgress: () => undefined })).path;
});
beforeEach(() => void (folder = tempDir("tiermesh-storage-")));
afterEach(() => folder.remove());

/** One life of the server: says one thing more, and hears all that was said before. */
async function life(storage: Partial<Parameters<typeof startEmbeddedBus>[0]>): Promise<string[]> {
  const bus = await startEmbeddedBus({ binary, stateDir: folder.path, ...storage });
  try {
    const nc = await connect({ servers: bus.url, user: bus.user, pass: bus.password, reconnect: false });
    const manager = await jetstreamManager(nc);
    const { state } = await manager.streams.add({ name: "S", subjects: ["s"] });
    await jetstream(nc).publish("s", `${PLAIN} ${state.messages + 1}`);
    const all = Array.from({ length: state.messages + 1 }, (_, i) => manager.streams.getMessage("S", { seq: i + 1 }));
    const texts = (await Promise.all(all)).map((message) => message?.string() ?? "");
    await nc.close();
    return texts;
  } finally {
    await bus.stop();
  }
}

function onDisk(): string {
  const names = readdirSync(folder.path, { recursive: true, encoding: "utf8" }).map((name) =>
    path.join(folder.path, name),
  );
  return names
    .filter((name) => statSync(name).isFile())
    .map((name) => readFileSync(name, "latin1"))
    .join("\n");
}

test("what is stored is encrypted, stays readable over a change of the key, and by no other key", async () => {
  expect(await life({ key: keptStorageKey(folder.path), sync: "always" })).toHaveLength(1);
  expect(onDisk()).not.toContain(PLAIN);
  changeStorageKey(folder.path);
  expect(await life({ key: keptStorageKey(folder.path) })).toHaveLength(2);
  forgetFormerKey(folder.path);
  expect(await life({ key: keptStorageKey(folder.path) })).toEqual([1, 2, 3].map((n) => `${PLAIN} ${n}`));
  expect(onDisk()).not.toContain(PLAIN);
  await expect(life({ key: { key: "x".repeat(43) } })).rejects.toThrow();
});

test("a bus that stored in clear is encrypted from the start with a key on", async () => {
  await life({});
  expect(onDisk()).toContain(PLAIN);
  expect(await life({ key: keptStorageKey(folder.path) })).toHaveLength(2);
  expect(await life({ key: keptStorageKey(folder.path) })).toHaveLength(3);
  expect(onDisk()).not.toContain(PLAIN);
});
