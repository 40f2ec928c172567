import { expect, test } from "vitest";
import { startProc } from "./proc.ts";

const run = (script: string) => startProc("-e", { args: [script] });

test("a line is found whether it came before or comes after the question, on either output", async () => {
  await using proc = run("console.log('one 1'); process.stdin.once('data', () => console.error('two 2')); ");
  expect((await proc.waitForLine(/one (\d)/))[1]).toBe("1");
  expect((await proc.waitForLine(/one (\d)/))[1]).toBe("1");
  const two = proc.waitForLine(/two (\d)/);
  proc.write("go\n");
  expect((await two)[1]).toBe("2");
  proc.endInput();
  expect(await proc.exited).toEqual({ code: 0, signal: null });
});

test("waiting fails with the last lines when the process ends or takes too long", async () => {
  await using ended = run("console.log('bye'); process.exitCode = 3");
  await expect(ended.waitForLine(/never/)).rejects.toThrow(/before the process ended \(3\)\n {2}bye/);
  await using silent = run("setInterval(() => {}, 1000)");
  await expect(silent.waitForLine(/never/, 10)).rejects.toThrow(/within 10 ms/);
});

test("killing is seen in how it ended", async () => {
  await using proc = run("console.log('up'); setInterval(() => {}, 1000)");
  await proc.waitForLine(/up/);
  proc.kill("SIGKILL");
  expect(await proc.exited).toEqual({ code: null, signal: "SIGKILL" });
});
