import { readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";
import { tempDir } from "../test/kit/temp-dir.ts";
import { Supervisor, type SupervisorOptions } from "./supervisor.ts";

const folder = tempDir("tiermesh-supervisor-");
const open: Supervisor[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((supervisor) => supervisor.stop()));
});
afterAll(() => folder.remove());

/** Says that it is ready and stays until its input ends or it is told to stop. */
const STAYS = `process.stdin.on("end", () => process.exit(0)).resume();
process.on("SIGTERM", () => { console.error("told " + process.argv[1].split(/[\\\\/]/).at(-1)); process.exit(0); });
console.log(JSON.stringify({ ready: true, process: "x", pid: process.pid }));`;

function program(name: string, body: string): string {
  const file = path.join(folder.path, `${name}.mjs`);
  writeFileSync(file, body);
  return file;
}

function setup(options: Partial<SupervisorOptions> = {}) {
  const lines: string[] = [];
  const supervisor = new Supervisor({
    logDir: folder.path,
    onLogLine: (name, line) => lines.push(`${name}: ${line}`),
    ...options,
  });
  open.push(supervisor);
  return { supervisor, lines, log: (name: string) => readFileSync(path.join(folder.path, `${name}.log`), "utf8") };
}

test("a process is started with its variables, and its ready line tells its facts", async () => {
  const { supervisor } = setup();
  process.env["TIERMESH_PARENT_PID"] = "1";
  const entry = program(
    "facts",
    `console.log("not JSON"); console.log("null"); console.log('{"ready":false}');
     const { MINE: mine, TIERMESH_SUPERVISED: supervised, TIERMESH_PARENT_PID: parent = "none", PATH } = process.env;
     console.log(JSON.stringify({ ready: true, mine, supervised, parent, path: PATH !== undefined }));
     process.stdin.on("end", () => process.exit(0)).resume();`,
  );
  const status = await supervisor.start({ name: "facts", entry, env: { MINE: "yes" } }, 10_000);
  delete process.env["TIERMESH_PARENT_PID"];
  expect(status).toMatchObject({
    name: "facts",
    state: "ready",
    restarts: 0,
    facts: { mine: "yes", supervised: "1", parent: "none", path: true },
  });
  expect(supervisor.statuses.map(({ pid }) => typeof pid)).toEqual(["number"]);
});

test("one that does not get ready in time is an error that names its log", async () => {
  const { supervisor } = setup();
  const entry = program("slow", "process.stdin.on('end', () => process.exit(0)).resume();");
  await expect(supervisor.start({ name: "slow", entry, env: {} }, 50)).rejects.toThrow(
    /slow did not get ready.*slow\.log/,
  );
});

test("what it says on standard error is in its log, readable by the owner only, and told line by line", async () => {
  const { supervisor, lines, log } = setup();
  const entry = program("loud", `console.error("first\\nsecond"); ${STAYS}`);
  await supervisor.start({ name: "loud", entry, env: {} }, 10_000);
  await supervisor.stop();
  expect(log("loud")).toBe("first\nsecond\ntold loud.mjs\n");
  expect(lines).toEqual(["loud: first", "loud: second", "loud: told loud.mjs"]);
  // Windows knows no such modes.
  expect(process.platform === "win32" ? 0o600 : statSync(path.join(folder.path, "loud.log")).mode & 0o777).toBe(0o600);
});

test("what dies is started again, with pauses that double; how it ended is told with its return", async () => {
  const waits: number[] = [];
  const back = Promise.withResolvers<string | null>();
  const { supervisor } = setup({
    onRestart: (_name, _exit, waitMs) => waits.push(waitMs),
    onReady: ({ restarts }, exit) => {
      if (restarts === 3) back.resolve(exit);
    },
  });
  const counter = path.join(folder.path, "count");
  writeFileSync(counter, "");
  const entry = program(
    "mortal",
    `import { appendFileSync, readFileSync } from "node:fs";
     appendFileSync(${JSON.stringify(counter)}, "x");
     if (readFileSync(${JSON.stringify(counter)}, "utf8").length <= 3) process.exit(7);
     ${STAYS}`,
  );
  const status = await supervisor.start({ name: "mortal", entry, env: {} }, 20_000);
  expect(await back.promise).toBe("exit 7");
  expect(waits).toEqual([100, 200, 400]);
  expect(status).toMatchObject({ state: "ready", restarts: 3 });
});

test.skipIf(process.platform === "win32")(
  "one that is killed comes back though its grandchild holds its output",
  async () => {
    const pids: unknown[] = [];
    const back = Promise.withResolvers<string | null>();
    const { supervisor } = setup({
      onReady: ({ restarts, facts }, exit) => {
        pids.push(facts["grandchild"]);
        if (restarts === 1) back.resolve(exit);
      },
    });
    const entry = program(
      "parent",
      `import { spawn } from "node:child_process";
     const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: ["ignore", "inherit", "inherit"] });
     console.log(JSON.stringify({ ready: true, grandchild: child.pid }));
     process.stdin.on("end", () => process.exit(0)).resume();`,
    );
    const { pid = 0 } = await supervisor.start({ name: "parent", entry, env: {} }, 10_000);
    process.kill(pid, "SIGKILL");
    try {
      expect(await back.promise).toBe("SIGKILL");
      await supervisor.stop();
    } finally {
      for (const grandchild of pids) process.kill(Number(grandchild), "SIGKILL");
    }
  },
);

test.skipIf(process.platform === "win32")(
  "stopping goes in the order given, then the rest, one after the other",
  async () => {
    const { supervisor, lines } = setup();
    const names = ["a", "b", "c"];
    await Promise.all(names.map((name) => supervisor.start({ name, entry: program(name, STAYS), env: {} }, 10_000)));
    await supervisor.stop(["c", "not there", "a"]);
    expect(lines).toEqual(["c: told c.mjs", "a: told a.mjs", "b: told b.mjs"]);
    expect(supervisor.statuses.map(({ state, pid }) => [state, pid])).toEqual(names.map(() => ["stopped", undefined]));
  },
);

test.skipIf(process.platform === "win32")(
  "one that does not listen is killed at the limit, and does not come back",
  async () => {
    let restarts = 0;
    const { supervisor } = setup({ stopLimitMs: 100, onRestart: () => restarts++ });
    const entry = program(
      "deaf",
      `process.on("SIGTERM", () => {}); setInterval(() => {}, 1000); console.log('{"ready":true}');`,
    );
    const { pid = 0 } = await supervisor.start({ name: "deaf", entry, env: {} }, 10_000);
    await supervisor.stop();
    expect(() => process.kill(pid, 0)).toThrow();
    expect(restarts).toBe(0);
  },
);

test("stopping while a process still starts, or waits to be started again, ends the start", async () => {
  const restarted = Promise.withResolvers<void>();
  const { supervisor } = setup({ onRestart: () => restarted.resolve() });
  const start = supervisor.start({ name: "dying", entry: program("dying", "process.exit(1)"), env: {} }, 60_000);
  const failed = start.catch((error: unknown) => (error as Error).message);
  await restarted.promise;
  await supervisor.stop();
  expect(await failed).toBe("dying was stopped before it got ready");
  expect(supervisor.statuses).toMatchObject([{ state: "stopped" }]);
});
