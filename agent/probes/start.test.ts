import { spawn, type ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Hardware } from "../../bus-schemas/node-record.ts";
import { unknownHardware } from "./hardware.ts";
import { launchProbes } from "./launch.ts";
import { startProbes, type Probes } from "./start.ts";

let dir = "";
const base = () => ({ stateDir: dir, cacheDir: dir, restartMs: { first: 1, limit: 2 } });
const never = () => new AbortController().signal;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "tiermesh-probes-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

/** A process that runs `code`, a group of its own as the real one. */
const processOf = (code: string) => () =>
  spawn(process.execPath, ["--input-type=module", "-e", code], {
    stdio: ["ignore", "ignore", "ignore", "ipc"],
    detached: process.platform !== "win32",
  });

const message = (cores: number) =>
  JSON.stringify({
    type: "hardware",
    hardware: { ...unknownHardware(process), cpu_cores: cores, cpu_utilization: 0.5 },
    problems: [],
    complete: true,
  });
const says = (cores: number, then = "") => `process.send(${message(cores)}, () => { ${then} });`;
const LISTENS = `process.on("message", () => process.exit());`;

/** Waits until `condition` holds, looking at each change. */
function until(probes: Probes, condition: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (!condition()) return;
      unsubscribe();
      resolve();
    };
    const unsubscribe = probes.onChange(look);
    look();
  });
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** The first one that was written there. */
const pidIn = (file: string) => Number.parseInt(readFileSync(join(dir, file), "utf8"), 10);

test("the real process finds this machine, keeps looking, and stops when told", async () => {
  const probes = startProbes({ ...base(), signal: never() });
  expect(probes.current()).toEqual(unknownHardware(process));
  await probes.first;
  const hardware = probes.current();
  expect(Hardware.parse(hardware)).toEqual(hardware);
  expect(hardware.cpu_cores).toBeGreaterThan(0);
  expect(hardware.memory_gb).toBeGreaterThan(0);
  expect(hardware.disk_free_gb).toBeGreaterThan(0);
  expect(hardware.sampled_at.gpus).not.toBeNull();
  await until(probes, () => probes.current().sampled_at.cpu !== hardware.sampled_at.cpu);
  await probes.stop();
});

test("the real process ends when its agent is gone", async () => {
  const child = launchProbes({ config: { stateDir: dir }, cacheDir: dir, env: process.env });
  await new Promise((resolve) => child.once("message", resolve));
  const exited = new Promise((resolve) => child.once("exit", resolve));
  child.disconnect();
  await exited;
});

test.skipIf(process.platform !== "linux")("no password and no key reaches the process", async () => {
  const env = { ...process.env, TIERMESH_NATS_PASSWORD: "p", OPENAI_API_KEY: "k", NVIDIA_VISIBLE_DEVICES: "all" };
  const child = launchProbes({ config: { stateDir: dir }, cacheDir: dir, env });
  await new Promise((resolve) => child.once("message", resolve));
  const seen = readFileSync(`/proc/${child.pid}/environ`, "utf8");
  expect(seen).not.toContain("TIERMESH_NATS_PASSWORD");
  expect(seen).not.toContain("OPENAI_API_KEY");
  expect(seen).toContain("NVIDIA_VISIBLE_DEVICES");
  const exited = new Promise((resolve) => child.once("exit", resolve));
  child.disconnect();
  await exited;
});

test("a process that crashes is started again and said to have crashed; old numbers do not outlive it", async () => {
  const launch = processOf(says(7, `throw new Error("boom");`));
  const probes = startProbes({ ...base(), launch, signal: never() });
  let crashes = 0;
  await until(probes, () => {
    if (probes.problems().some(({ probe }) => probe === "worker")) crashes++;
    return crashes >= 2;
  });
  expect(probes.problems()).toMatchObject([{ message: "the probes' process crashed (exit code 1)" }]);
  expect(probes.current()).toMatchObject({ cpu_cores: 7, cpu_utilization: null });
  await probes.first;
  await probes.stop();
});

test("a process that never comes up leaves nothing but what is known to be unknown", async () => {
  for (const launch of [processOf("process.exit(1);"), () => spawn(join(dir, "nothing"))]) {
    const probes = startProbes({ ...base(), launch, signal: never() });
    let ends = 0;
    await until(probes, () => probes.problems().length > 0 && ++ends >= 3);
    expect(probes.current()).toEqual(unknownHardware(process));
    await probes.stop();
    await probes.first;
  }
});

test("a process that falls silent is killed with all that it started, and replaced", async () => {
  const pids = [join(dir, "child"), join(dir, "tool")].map((path) => JSON.stringify(path));
  const hangs = `
    const tool = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
    appendFileSync(${pids[1]}, tool.pid + "\\n");
    appendFileSync(${pids[0]}, process.pid + "\\n");
    for (;;);`;
  const code = `import { spawn } from "node:child_process"; import { appendFileSync } from "node:fs"; ${says(7, hangs)}`;
  const probes = startProbes({ ...base(), launch: processOf(code), silentAfterMs: 3000, signal: never() });
  await probes.first;
  expect(probes.current().cpu_utilization).toBe(0.5);
  await until(
    probes,
    () => probes.problems()[0]?.message === "the probes' process said nothing for 3 s and was replaced",
  );
  // Windows knows no process groups: there a tool ends when it finds its output closed.
  await expect.poll(() => process.platform !== "win32" && isAlive(pidIn("tool"))).toBe(false);
  expect(isAlive(pidIn("child"))).toBe(false);
  await probes.stop();
});

test("words that are no record are no sign of life", async () => {
  const code = `${LISTENS} setInterval(() => process.send({ type: "hardware", hardware: { cpu_cores: -1 } }), 20);`;
  const probes = startProbes({ ...base(), launch: processOf(code), silentAfterMs: 400, signal: never() });
  await until(probes, () => probes.problems().some(({ message: text }) => text.includes("said nothing")));
  expect(probes.current()).toEqual(unknownHardware(process));
  await probes.stop();
});

test("a process that does not listen is stopped by force", async () => {
  const abort = new AbortController();
  const pidFile = JSON.stringify(join(dir, "pid"));
  const code = `import { writeFileSync } from "node:fs"; writeFileSync(${pidFile}, String(process.pid)); ${says(7, "for (;;);")}`;
  const probes = startProbes({ ...base(), launch: processOf(code), signal: abort.signal });
  await probes.first;
  abort.abort();
  await probes.stop();
  expect(isAlive(pidIn("pid"))).toBe(false);
  expect(probes.problems()).toEqual([]);
});

test("probes that are aborted before they start end at once", async () => {
  const launch = vi.fn<() => ChildProcess>(processOf(""));
  const probes = startProbes({ ...base(), launch, signal: AbortSignal.abort() });
  await probes.first;
  await probes.stop();
  expect(launch).not.toHaveBeenCalled();
});
