import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createInterface } from "node:readline";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { writeMeshFile } from "../../cli/mesh-file.ts";
import { obtainNatsServer } from "../../service/bus-server/index.ts";
import { runCli } from "../kit/mesh.ts";
import { freePorts } from "../kit/process-bus.ts";
import { tempDir } from "../kit/temp-dir.ts";

/** `tiermesh` as a process of its own: what it prints where, and its exit codes. */

const folder = tempDir("tiermesh-cli-");
afterAll(() => folder.remove());
const MAIN = fileURLToPath(new URL("../../cli/main.ts", import.meta.url));
const env = { TIERMESH_HOME: folder.path, TIERMESH_NATS_URL: undefined, TIERMESH_GATEWAY_PORT: undefined };

test("0: what was asked for is on standard output and nothing else", async () => {
  const version = await runCli(env, "version", "--json");
  expect([version.code, version.err]).toEqual([0, ""]);
  expect(JSON.parse(version.out)).toMatchObject({ tiermesh: expect.any(String) as string });
  const help = await runCli(env, "--help");
  expect([help.code, help.err]).toEqual([0, ""]);
  expect(help.out).toContain("doctor");
});

test("2: wrong usage says what, suggests what is near, and shows the way to the help", async () => {
  for (const [args, says] of [
    [["statsu"], /statsu.*\n.*status/],
    [["nodes", "--jsno"], /--jsno.*\n.*--json/],
    [["submit", "--timeout", "soon", "x"], /--timeout/],
    [["audit"], /tail/],
    [[], /Usage/],
  ] as const) {
    const { code, out, err } = await runCli(env, ...args);
    expect([args, code, out]).toEqual([args, 2, ""]);
    expect(err).toMatch(says);
  }
});

test("1: without a mesh each command says how to start one, as JSON too for who asked for JSON", async () => {
  for (const args of [["nodes"], ["status"], ["audit", "tail"], ["bus", "env"], ["submit", "hello"], ["route"]]) {
    const plain = await runCli(env, ...args);
    expect([args, plain.code]).toEqual([args, 1]);
    expect(plain.err).toContain("npm start");
    expect(plain.err).not.toContain("    at ");
  }
  const json = await runCli(env, "nodes", "--json");
  expect(JSON.parse(json.out)).toMatchObject({ error: { code: "bus_unavailable", retryable: true } });
});

test("a bus that does not answer is told without its password", async () => {
  const [port = 0] = await freePorts(1);
  const { code, err, out } = await runCli(
    { ...env, TIERMESH_NATS_URL: `nats://me:hunter2@127.0.0.1:${port}` },
    "nodes",
  );
  expect([code, out]).toEqual([1, ""]);
  expect(err).toContain(`127.0.0.1:${port}`);
  expect(err).not.toContain("hunter2");
});

test.skipIf(process.platform === "win32")("a reader that has seen enough is no error", async () => {
  const child = spawn(process.execPath, [MAIN, "--help"], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  child.stdout.destroy();
  const errors: string[] = [];
  createInterface({ input: child.stderr }).on("line", (line) => errors.push(line));
  const code = await new Promise((resolve) => child.on("close", resolve));
  expect([code, errors]).toEqual([0, []]);
});

test("up on a bus without JetStream says what is missing and ends, leaving nothing behind", async () => {
  const { path: binary } = await obtainNatsServer();
  const [port = 0, gatewayPort = 0] = await freePorts(2);
  const server = spawn(binary, ["-a", "127.0.0.1", "-p", String(port)], { stdio: ["ignore", "ignore", "pipe"] });
  try {
    await new Promise<void>((resolve) =>
      createInterface({ input: server.stderr }).on("line", (line) => {
        if (line.includes("Server is ready")) resolve();
      }),
    );
    const { code, err } = await runCli(
      { ...env, TIERMESH_NATS_URL: `nats://127.0.0.1:${port}` },
      "up",
      "--no-first-job",
      "--gateway-port",
      String(gatewayPort),
    );
    expect(code).toBe(1);
    expect(err).toMatch(/has no JetStream.*-js/);
    expect(err).not.toContain("    at ");
  } finally {
    server.kill("SIGKILL");
  }
});

test("a file of a mesh that is gone, whose process id another program has now, keeps nobody from starting", async () => {
  const home = path.join(folder.path, "reused");
  mkdirSync(home);
  const [port = 0, gatewayPort = 0] = await freePorts(2);
  const stale = {
    pid: process.pid,
    started_at: "2026-11-23T10:00:00Z",
    version: "0.1.0",
    cell: "main",
    nats_url: "nats://127.0.0.1:1",
    gateway_url: `http://127.0.0.1:${gatewayPort}`,
    node_id: null,
    state_dir: home,
    processes: [],
  };
  // The bus that it would use is not there: this test is about getting that far.
  const up = () =>
    runCli(
      { ...env, TIERMESH_HOME: home, TIERMESH_NATS_URL: `nats://127.0.0.1:${port}` },
      "up",
      "--no-first-job",
      "--gateway-port",
      String(gatewayPort),
    );
  writeMeshFile({ TIERMESH_HOME: home }, { ...stale, start_token: "another boot:1" });
  expect((await up()).err).toContain("no bus answers");
  writeMeshFile({ TIERMESH_HOME: home }, stale);
  expect((await up()).err).toContain("a mesh already runs here");
});

test("doctor finds everything that is not there, says what to do, and ends with 1", async () => {
  const { code, out } = await runCli(env, "doctor", "--json");
  expect(code).toBe(1);
  const findings = JSON.parse(out) as { name: string; level: string; todo?: string }[];
  expect(findings.map(({ name }) => name)).toContain("hardware");
  expect(findings.find(({ name }) => name === "bus")).toMatchObject({
    level: "fail",
    todo: expect.any(String) as string,
  });
  expect(findings.find(({ name }) => name === "hardware")?.level).not.toBe("fail");
});
