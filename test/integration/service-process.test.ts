import { writeFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, expect, test } from "vitest";
import { startProc } from "../kit/proc.ts";
import { tempDir } from "../kit/temp-dir.ts";

const dir = tempDir("tiermesh-process-");
afterAll(() => dir.remove());
const service = (file: string) =>
  JSON.stringify(pathToFileURL(path.join(import.meta.dirname, "..", "..", "service", file)).href);

/** A process of the mesh whose `main` is `body`. */
function program(body: string, supervised = false) {
  const file = path.join(dir.path, `main-${Math.random().toString(36).slice(2)}.mts`);
  const imports = `import { runProcess } from ${service("lifecycle.ts")}; import { createLog } from ${service("log.ts")};`;
  writeFileSync(
    file,
    `${imports}
runProcess(createLog("test", "info"), async (lifecycle) => {
  const timer = setInterval(() => {}, 1000);
  lifecycle.onClose("timer", () => { clearInterval(timer); console.log("closed"); });
  ${body}
  console.log("up");
});`,
  );
  return startProc(file, { env: { TIERMESH_SUPERVISED: supervised ? "1" : undefined } });
}

test.skipIf(process.platform === "win32")("SIGTERM and SIGINT close everything in order and exit with 0", async () => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    await using proc = program("");
    await proc.waitForLine(/^up$/);
    proc.kill(signal);
    expect(await proc.exited).toEqual({ code: 0, signal: null });
    expect(proc.lines).toContain("closed");
  }
});

test("a supervised process goes when its supervisor is gone; another one does not watch its input", async () => {
  await using supervised = program("", true);
  await supervised.waitForLine(/^up$/);
  supervised.endInput();
  expect((await supervised.exited).code).toBe(0);
  expect(supervised.lines).toContain("closed");

  await using alone = program("process.stdin.on('end', () => console.log('input ended')).resume();");
  await alone.waitForLine(/^up$/);
  alone.endInput();
  await alone.waitForLine(/input ended/);
  expect(alone.lines).not.toContain("closed");
});

test("a main that cannot start says why, closes what it opened and exits with 1", async () => {
  await using proc = program("throw new Error('the port is taken');");
  expect((await proc.exited).code).toBe(1);
  expect(proc.errors.join("\n")).toContain("the port is taken");
  expect(proc.lines).toEqual(["closed"]);
});

test("an unexpected error, thrown or rejected, is logged and ends the process with 1", async () => {
  for (const accident of [
    "setImmediate(() => { throw new Error('oops'); });",
    "void Promise.reject(new Error('oops'));",
  ]) {
    await using proc = program(accident);
    expect((await proc.exited).code).toBe(1);
    expect(proc.errors.join("\n")).toContain("oops");
    expect(proc.lines).toContain("closed");
  }
});

test("a closer that never ends does not keep the process for ever", async () => {
  await using proc = program(
    "lifecycle.onClose('stuck', () => new Promise(() => {})); setImmediate(() => process.emit('SIGTERM'));",
  );
  await proc.waitForLine(/^up$/);
  expect((await proc.exited).code).toBe(1);
}, 30_000);
