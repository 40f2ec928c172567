import { existsSync, utimesSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { startProc } from "../test/kit/proc.ts";
import { tempDir } from "../test/kit/temp-dir.ts";
import { tryLock, waitForLock, withLock } from "./file-lock.ts";

function lockFile(): string {
  const folder = tempDir();
  onTestFinished(() => folder.remove());
  return path.join(folder.path, "sub", "lock");
}

async function taken(file: string) {
  const lock = await tryLock(file);
  if ("heldBy" in lock) throw new Error(`held by ${lock.heldBy.pid}`);
  return lock;
}

test("a lock is held by one and free again after its release, which may be repeated", async () => {
  const file = lockFile();
  const lock = await taken(file);
  expect(await tryLock(file)).toMatchObject({ heldBy: { pid: process.pid } });
  await lock.release();
  const next = await taken(file);
  await lock.release(); // the old one must not free the new one
  expect(existsSync(file)).toBe(true);
  await next.release();
  expect(existsSync(file)).toBe(false);
});

test("the lock of a process that was killed is taken over", async () => {
  const file = lockFile();
  const module = new URL("file-lock.ts", import.meta.url).href;
  const script = path.join(path.dirname(path.dirname(file)), "holder.mjs");
  writeFileSync(
    script,
    `import { tryLock } from ${JSON.stringify(module)};\nawait tryLock(${JSON.stringify(file)});\nconsole.log("locked");\nsetInterval(() => {}, 1000);\n`,
  );
  await using holder = startProc(script);
  await holder.waitForLine(/locked/);
  expect(await tryLock(file)).toMatchObject({ heldBy: { pid: holder.pid } });
  holder.kill("SIGKILL");
  await holder.exited;
  await (await taken(file)).release();
});

test("a live process that merely reuses the holder's id does not hold the lock", async () => {
  const file = lockFile();
  await (await taken(file)).release();
  writeFileSync(file, JSON.stringify({ pid: process.ppid, token: "another start" }));
  await (await taken(file)).release();
});

test.each(["", "{", "[]", '{"pid":"x"}', '{"pid":1}', "null"])(
  "a broken lock file (%j) is taken over",
  async (content) => {
    const file = lockFile();
    await (await taken(file)).release();
    writeFileSync(file, content);
    await (await taken(file)).release();
  },
);

test("a takeover that crashed half-way does not block for ever", async () => {
  const file = lockFile();
  await (await taken(file)).release();
  writeFileSync(file, JSON.stringify({ pid: process.ppid, token: "another start" }));
  writeFileSync(`${file}.takeover`, "");
  utimesSync(`${file}.takeover`, 0, 0);
  await (await taken(file)).release();
});

test("of many who race for a stale lock exactly one gets it", async () => {
  const file = lockFile();
  await (await taken(file)).release();
  writeFileSync(file, JSON.stringify({ pid: process.ppid, token: "another start" }));
  const results = await Promise.all(Array.from({ length: 20 }, () => tryLock(file)));
  expect(results.filter((result) => !("heldBy" in result))).toHaveLength(1);
});

test("waiting ends when the holder lets go, and says once that it waits", async () => {
  const file = lockFile();
  const first = await taken(file);
  const told: number[] = [];
  const second = waitForLock(file, (holder) => {
    told.push(holder.pid);
    void first.release();
  });
  await (await second).release();
  expect(told).toEqual([process.pid]);
});

test("waiting ends when the signal aborts", async () => {
  const file = lockFile();
  const lock = await taken(file);
  const abort = new AbortController();
  await expect(waitForLock(file, () => abort.abort(new Error("enough")), abort.signal)).rejects.toThrow("enough");
  await lock.release();
});

test("work under a lock runs one after the other, also when the first fails, and leaves no file", async () => {
  const file = lockFile();
  const order: string[] = [];
  const gate = Promise.withResolvers<void>();
  const first = withLock(file, async () => {
    order.push("first in");
    await gate.promise;
    order.push("first out");
    throw new Error("failed");
  });
  const caught = first.catch((error: unknown) => (error as Error).message);
  await expect.poll(() => order).toEqual(["first in"]);
  const second = withLock(file, () => Promise.resolve(order.push("second")));
  gate.resolve();
  expect(await caught).toBe("failed");
  await second;
  expect(order).toEqual(["first in", "first out", "second"]);
  expect(existsSync(file)).toBe(false);
});
