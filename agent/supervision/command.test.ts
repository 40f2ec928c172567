import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { isAlive } from "../../service/process-info.ts";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { CommandMeans } from "./command.ts";

const never = new AbortController().signal;

function means(script: string, more: { log_file?: string; cwd?: string } = {}, pidFile?: string) {
  const folder = tempDir("tiermesh-command-");
  onTestFinished(() => folder.remove());
  const exits: string[] = [];
  const file = pidFile ?? join(folder.path, "r.pid");
  const command = [process.execPath, "-e", script];
  const one = new CommandMeans({
    settings: { command, env: { GIVEN: "yes" }, ...more },
    pidFile: file,
    env: { ...process.env, TIERMESH_NATS_PASSWORD: "secret" },
    onExit: (how) => exits.push(how),
  });
  onTestFinished(() => one.stop());
  const pid = () => (JSON.parse(readFileSync(file, "utf8")) as { pid: number }).pid;
  return { one, exits, pid, pidFile: file, folder: folder.path };
}

const RUN = "setInterval(() => {}, 1000)";

test("it runs with its own variables and none of the agent's, its output goes where it was told", async () => {
  const folder = tempDir("tiermesh-command-log-");
  onTestFinished(() => folder.remove());
  const log = join(folder.path, "out.log");
  const { one } = means(`console.log(process.env.GIVEN, process.env.TIERMESH_NATS_PASSWORD); ${RUN}`, {
    log_file: log,
  });
  await one.restart(never);
  await vi.waitFor(() => expect(readFileSync(log, "utf8")).toBe("yes undefined\n"));
});

test("its end is told with how it ended; an end that we wanted is not", async () => {
  const { one, exits } = means("process.exit(3)");
  await one.restart(never);
  await vi.waitFor(() => expect(exits).toEqual(["exit 3"]));
  const other = means(RUN);
  await other.one.restart(never);
  const running = other.pid();
  expect(isAlive(running)).toBe(true);
  await other.one.stop();
  expect([isAlive(running), other.exits, existsSync(other.pidFile)]).toEqual([false, [], false]);
});

test.skipIf(process.platform === "win32")("its workers end with it, also when it is killed", async () => {
  const worker = `const c = require("node:child_process").spawn(process.execPath, ["-e", ${JSON.stringify(RUN)}]);
    require("node:fs").writeFileSync(process.env.GIVEN_FILE ?? "worker.pid", String(c.pid)); ${RUN}`;
  const folder = tempDir("tiermesh-command-worker-");
  onTestFinished(() => folder.remove());
  const { one, pid, exits } = means(worker, { cwd: folder.path });
  await one.restart(never);
  const file = join(folder.path, "worker.pid");
  await vi.waitFor(() => expect(Number(readFileSync(file, "utf8"))).toBeGreaterThan(0));
  const workerPid = Number(readFileSync(file, "utf8"));
  process.kill(pid(), "SIGKILL");
  await vi.waitFor(() => expect(exits).toEqual(["SIGKILL"]));
  await vi.waitFor(() => expect(isAlive(workerPid)).toBe(false));
});

test("a restart ends the run before, also one that a killed agent left behind", async () => {
  const first = means(RUN);
  await first.one.restart(never);
  const left = first.pid();
  // Another agent, with the same folder and the same command.
  const second = means(RUN, {}, first.pidFile);
  await second.one.restart(never);
  expect(isAlive(left)).toBe(false);
  expect(isAlive(second.pid())).toBe(true);
  expect(second.pid()).not.toBe(left);
});

test("a process that only has the id of one of ours is left alone", async () => {
  const other = means(RUN);
  await other.one.restart(never);
  const innocent = other.pid();
  for (const left of [JSON.stringify({ pid: innocent, token: "another start" }), String(innocent), "garbage"]) {
    const { one, pidFile } = means(RUN);
    writeFileSync(pidFile, left);
    await one.restart(never);
  }
  expect(isAlive(innocent)).toBe(true);
});

test("what cannot be started says why, without a path", async () => {
  const folder = tempDir("tiermesh-command-none-");
  onTestFinished(() => folder.remove());
  const settings = { command: [join(folder.path, "no-such-program")] };
  const one = new CommandMeans({ settings, pidFile: join(folder.path, "p"), env: {}, onExit: () => undefined });
  await expect(one.restart(never)).rejects.toMatchObject({
    code: "runtime_failed",
    message: "its command cannot be started (ENOENT)",
  });
  const { one: noLog } = means(RUN, { log_file: join(folder.path, "none", "x.log") });
  await expect(noLog.restart(never)).rejects.toMatchObject({ message: "its log_file cannot be written (ENOENT)" });
});
