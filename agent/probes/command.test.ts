import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, watch, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { CommandRunner } from "./command.ts";
import { UNHURRIED } from "./fixtures/replay-host.ts";

const LIMITS = { timeoutMs: 20_000, maxOutputBytes: 100_000, env: process.env };
let dir = "";

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "tiermesh-command-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const script = (code: string) => ["-e", code];
/** Never ends. */
const ENDLESS = script("setInterval(() => {}, 1000)");
/** Says its process id in a file, whole at once, then never ends. */
const endless = (pidFile: string) => {
  const [part, whole] = [`${pidFile}.part`, pidFile].map((path) => JSON.stringify(path));
  return script(
    `const fs = require("fs"); fs.writeFileSync(${part}, String(process.pid)); fs.renameSync(${part}, ${whole}); setInterval(() => {}, 1000)`,
  );
};

/** Waits for a file to be there. */
async function appeared(name: string): Promise<string> {
  for await (const _ of watch(dir)) {
    if (existsSync(join(dir, name))) break;
  }
  return readFile(join(dir, name), "utf8");
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test("output, errors and exit code come back as they are", async () => {
  const result = await new CommandRunner().run(
    process.execPath,
    script('process.stdout.write("out é"); process.stderr.write("err"); process.exitCode = 6'),
    LIMITS,
    UNHURRIED,
  );
  expect(result).toEqual({ code: 6, stdout: "out é", stderr: "err" });
});

test("a program that is not there and one that may not be run are told apart", async () => {
  const runner = new CommandRunner();
  const file = join(dir, "not-executable");
  await writeFile(file, "");
  await expect(runner.run(join(dir, "nothing"), [], LIMITS, UNHURRIED)).rejects.toMatchObject({ failure: "not_found" });
  await expect(runner.run(file, [], LIMITS, UNHURRIED)).rejects.toMatchObject({ failure: "denied" });
});

test("a program that hangs is killed at its time, and can be run again", async () => {
  const runner = new CommandRunner();
  const run = runner.run(process.execPath, ENDLESS, { ...LIMITS, timeoutMs: 100 }, UNHURRIED);
  await expect(run).rejects.toMatchObject({ failure: "timeout" });
  await expect(runner.run(process.execPath, script(""), LIMITS, UNHURRIED)).resolves.toMatchObject({ code: 0 });
});

test("a program that was stopped is gone when the failure is told", async () => {
  const abort = new AbortController();
  const pid = appeared("pid");
  const run = new CommandRunner().run(process.execPath, endless(join(dir, "pid")), LIMITS, abort.signal);
  run.catch(() => {});
  expect(isAlive(Number(await pid))).toBe(true);
  abort.abort();
  await expect(run).rejects.toMatchObject({ failure: "aborted" });
  expect(isAlive(Number(await pid))).toBe(false);
});

test("the same program is never run twice at once, whatever its folder", async () => {
  const runner = new CommandRunner();
  const abort = new AbortController();
  const first = runner.run(process.execPath, ENDLESS, LIMITS, abort.signal);
  await expect(runner.run(process.execPath, [], LIMITS, UNHURRIED)).rejects.toMatchObject({ failure: "still_running" });
  await expect(runner.run("C:\\bin\\NODE.exe", [], LIMITS, UNHURRIED)).rejects.toMatchObject({
    failure: "still_running",
  });
  abort.abort();
  await expect(first).rejects.toMatchObject({ failure: "aborted" });
  await expect(runner.run(process.execPath, script(""), LIMITS, UNHURRIED)).resolves.toMatchObject({ code: 0 });
});

test("a program that writes without end is killed at the limit", async () => {
  const flood = script('const s = "x".repeat(65536); const more = () => process.stdout.write(s, more); more()');
  const run = new CommandRunner().run(process.execPath, flood, LIMITS, UNHURRIED);
  await expect(run).rejects.toMatchObject({ failure: "too_large" });
});

test("nothing is started for a signal that has aborted", async () => {
  const run = new CommandRunner().run(join(dir, "nothing"), [], LIMITS, AbortSignal.abort());
  await expect(run).rejects.toMatchObject({ failure: "aborted" });
});

test("a program that goes on is followed line by line until it is stopped", async () => {
  const abort = new AbortController();
  const lines: string[] = [];
  const code = script(
    'setInterval(() => process.stdout.write("on"), 5); setInterval(() => process.stdout.write("e\\n"), 17)',
  );
  const onLine = (line: string) => {
    lines.push(line);
    if (lines.length === 3) abort.abort();
  };
  const run = new CommandRunner().follow(process.execPath, code, process.env, onLine, abort.signal);
  await expect(run).rejects.toMatchObject({ failure: "aborted" });
  expect(lines.slice(0, 3).every((line) => /^(on)*e$/.test(line))).toBe(true);
});

test("a program that is followed and ends says how; a line without end is too much", async () => {
  const runner = new CommandRunner();
  const lines: string[] = [];
  const onLine = (line: string) => void lines.push(line);
  const ends = script('console.log("a\\nb"); process.exitCode = 3');
  const output = await runner.follow(process.execPath, ends, process.env, onLine, UNHURRIED);
  expect(output).toEqual({ code: 3, stdout: "a\nb\n", stderr: "" });
  expect(lines).toEqual(["a", "b"]);
  const flood = script('const s = "x".repeat(65536); const more = () => process.stdout.write(s, more); more()');
  const endless = runner.follow(process.execPath, flood, process.env, onLine, UNHURRIED);
  await expect(endless).rejects.toMatchObject({ failure: "too_large" });
});
