import { expect, test } from "vitest";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { startProc } from "../test/kit/proc.ts";
import { commandOf, isAlive, startToken } from "./process-info.ts";

const IDLE = ["-e", "console.log('up'); setInterval(() => {}, 1000)"] as const;

test("a process's start token stays the same and differs between processes", async () => {
  await using other = startProc(IDLE[0], { args: [IDLE[1]] });
  await other.waitForLine(/up/);
  const own = await startToken(process.pid);
  expect(own).toBeDefined();
  expect(await startToken(process.pid)).toBe(own);
  expect(await startToken(other.pid)).not.toBe(own);
});

test("a process runs until it is killed, and then has neither command nor token", async () => {
  await using other = startProc(IDLE[0], { args: [IDLE[1]] });
  await other.waitForLine(/up/);
  expect(isAlive(other.pid)).toBe(true);
  expect(await commandOf(other.pid)).toContain("setInterval");
  other.kill("SIGKILL");
  await other.exited;
  expect(isAlive(other.pid)).toBe(false);
  expect(await commandOf(other.pid)).toBeUndefined();
  expect(await startToken(other.pid)).toBeUndefined();
});

test.skipIf(process.platform !== "linux")("a zombie, ended but not collected by its parent, does not run", async () => {
  // The shell becomes `sleep`, which never collects the child that the shell had started.
  const parent = spawn("sh", ["-c", "sleep 60 & echo $!; exec sleep 60"], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  const [line] = (await once(parent.stdout, "data")) as [Buffer];
  const child = Number(line.toString());
  // Until then the shell itself is the parent, and it may collect.
  await expect.poll(() => readFileSync(`/proc/${parent.pid}/comm`, "utf8").trim()).toBe("sleep");
  process.kill(child, "SIGKILL");
  await expect.poll(() => isAlive(child)).toBe(false);
  expect(() => process.kill(child, 0)).not.toThrow();
  parent.kill("SIGKILL");
  await once(parent, "close");
});
