import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { askAgent } from "../../agent/local-control/ask.ts";
import { MeshClient } from "../../client/index.ts";
import { THIS_TARGET } from "../../scripts/agent-targets.ts";
import { buildSingleExecutable } from "../../scripts/single-executable.ts";
import { busAddress, busEnv } from "../bench/bus-address.ts";
import { startTestBus } from "../kit/bus.ts";
import { startProc } from "../kit/proc.ts";
import { tempDir } from "../kit/temp-dir.ts";

/** Another one than package.json's, so that it is known to come from the build. */
const VERSION = "9.8.7-test.1";
const folder = tempDir("tiermesh-single-");
let program: string;

beforeAll(async () => {
  program = await buildSingleExecutable({ target: THIS_TARGET, version: VERSION, out: folder.path });
}, 120_000);
afterAll(() => folder.remove());

function run(file: string, args: string[], env: NodeJS.ProcessEnv = {}) {
  const { status, stdout, stderr } = spawnSync(file, args, {
    encoding: "utf8",
    env: { PATH: process.env["PATH"], ...env },
  });
  return { status, stdout, stderr };
}

test("neither NODE_OPTIONS nor an argument makes it load somebody else's code, as they make Node", () => {
  const marker = path.join(folder.path, "marker");
  const evil = path.join(folder.path, "evil.cjs");
  writeFileSync(evil, `require("node:fs").writeFileSync(${JSON.stringify(marker)}, "")`);
  const injected = () => {
    const was = existsSync(marker);
    spawnSync("rm", ["-f", marker]);
    return was;
  };
  const options = { NODE_OPTIONS: `--require ${evil}` };
  // What is tried here works on a Node: else the rest would prove nothing.
  run(process.execPath, ["--version"], options);
  run(process.execPath, ["-e", "0"], options);
  expect(injected()).toBe(true);
  for (const [args, env] of [
    [["--version"], options],
    [["--version"], { NODE_OPTIONS: `--import file://${evil}` }],
    [["--require", evil, "--version"], {}],
    [["-r", evil], {}],
    [["--eval", `require(${JSON.stringify(evil)})`], {}],
    [[evil], {}],
    [["--tiermesh-entry=../../../evil.cjs", "--version"], {}],
  ] as const) {
    const { stdout } = run(program, [...args], env);
    const said = args[0] === "--version" ? stdout : `${VERSION}\n`;
    expect([args, said, injected()]).toEqual([args, `${VERSION}\n`, false]);
  }
});

test("it speaks as a program: help with examples, exit codes, errors as JSON", () => {
  expect(run(program, ["install", "--help"]).stdout).toContain("sudo tiermesh-agent install --join");
  expect(run(program, ["no-such-thing"]).status).toBe(2);
  const { status, stdout } = run(program, ["join", "hello", "--json"], { TIERMESH_HOME: folder.path });
  expect([status, JSON.parse(stdout)]).toMatchObject([1, { error: { code: "bad_config", field: "join" } }]);
});

test("it runs as an agent, with its thread and its process, and ends when told", async () => {
  await using stack = new AsyncDisposableStack();
  const bus = stack.use(await startTestBus());
  const home = path.join(folder.path, "home");
  const agent = stack.use(
    startProc("run", {
      program,
      args: ["--json"],
      env: {
        ...busEnv(bus),
        TIERMESH_NODE_ID: "single",
        TIERMESH_HOME: home,
        TIERMESH_CACHE_DIR: path.join(folder.path, "cache"),
        TIERMESH_LOOPBACK: "true",
        TIERMESH_PROFILE: "server",
      },
    }),
  );
  const client = stack.adopt(await MeshClient.connect(busAddress(bus)), (open) => open.close());
  // The model is the work thread's word, the memory that of the probes' process.
  const record = await client.nodes.ready(
    ({ models, hardware }) => models.length > 0 && hardware.memory_gb !== null,
    AbortSignal.timeout(30_000),
  );
  expect(record).toMatchObject({ node_id: "single", status: "healthy" });
  const status = await askAgent(path.join(home, "agent", "single", "control.sock"), { command: "status" });
  expect(status).toMatchObject({ version: VERSION, pid: agent.pid, bus_connected: true });
  agent.kill();
  expect(await agent.exited).toEqual({ code: 0, signal: null });
});

const canChroot =
  process.platform === "linux" && process.getuid?.() === 0 && spawnSync("chroot", ["/", "true"]).status === 0;

test.skipIf(!canChroot)("it runs where there is nothing but the C library: no Node, no shell, no /proc", () => {
  const root = path.join(folder.path, "root");
  const libraries = [...run("ldd", [program]).stdout.matchAll(/(\/\S+) \(0x/g)].map((found) => found[1] ?? "");
  expect(libraries.length).toBeGreaterThan(3);
  for (const library of libraries) {
    mkdirSync(path.join(root, path.dirname(library)), { recursive: true });
    copyFileSync(library, path.join(root, library));
  }
  copyFileSync(program, path.join(root, "agent"));
  expect(run("chroot", [root, "/agent", "--version"])).toMatchObject({ status: 0, stdout: `${VERSION}\n` });
  const { status, stdout } = run("chroot", [root, "/agent", "print-unit", "--json"]);
  expect([status, JSON.parse(stdout)]).toMatchObject([0, [{ path: "/etc/systemd/system/tiermesh-agent.service" }]]);
});
