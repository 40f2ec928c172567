import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { startChild } from "../../agent/embedded/child.ts";

const SERVER = fileURLToPath(new URL("../../agent/embedded/server.ts", import.meta.url));

test("a runtime whose engine is missing says so and leaves no process behind", async () => {
  const args = ["--model", "none.gguf", "--llama-dir", "/nowhere"];
  const start = startChild({ args, env: { ...process.env, LOG_LEVEL: "silent" }, token: "t" });
  await expect(start).rejects.toMatchObject({
    code: "start_failed",
    message: expect.stringContaining("Cannot find module") as string,
  });
});

test.each([
  [[], "--model FILE and --llama-dir DIR are needed"],
  [["--model", "a", "--llama-dir", "b", "--threads", "none"], "--threads: a whole number from 1 to 1024"],
  [["--model", "a", "--llama-dir", "b", "--accelerator", "abacus"], "--accelerator: cpu, cuda, vulkan or metal"],
])("bad flags %j are answered with one JSON line and exit code 1", async (flags, error) => {
  const child = spawn(process.execPath, [SERVER, ...flags], { stdio: ["pipe", "pipe", "ignore"] });
  const exit = once(child, "exit");
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  expect(JSON.parse(line)).toEqual({ ready: false, error });
  expect(await exit).toEqual([1, null]);
});
