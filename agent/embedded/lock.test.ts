import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { withLock } from "./lock.ts";

const newFolder = () => mkdtemp(join(tmpdir(), "embedded-"));

test("the second holder begins when the first has ended, also when that one failed", async () => {
  const path = join(await newFolder(), "x.lock");
  const order: string[] = [];
  let release: () => void = () => undefined;
  const first = withLock(path, async () => {
    await new Promise<void>((resolve) => {
      release = resolve;
      order.push("first in");
    });
    order.push("first out");
    throw new Error("failed");
  });
  const caught = first.catch((error: unknown) => (error as Error).message);
  const second = withLock(path, () => Promise.resolve(order.push("second")));
  await expect.poll(() => order).toEqual(["first in"]);
  release();
  expect(await caught).toBe("failed");
  await second;
  expect(order).toEqual(["first in", "first out", "second"]);
});

test("the lock of a process that died is taken over and leaves no file", async () => {
  const folder = await newFolder();
  const path = join(folder, "x.lock");
  const { pid } = spawnSync(process.execPath, ["-e", ""]);
  await writeFile(path, String(pid));
  expect(await withLock(path, () => Promise.resolve("mine"))).toBe("mine");
  expect(await readdir(folder)).toEqual([]);
});

test("waiting ends when the signal aborts", async () => {
  const path = join(await newFolder(), "x.lock");
  await writeFile(path, String(process.pid));
  const stop = new AbortController();
  const waiting = withLock(path, () => Promise.resolve(), stop.signal);
  stop.abort();
  await expect(waiting).rejects.toThrow(/abort/i);
});
