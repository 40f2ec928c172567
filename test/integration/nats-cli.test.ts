import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { writeNkeyFile } from "../../service/access/nkey-file.ts";
import { HOLDER_NAMES, startRoleBus, type HolderName, type RoleBus } from "../kit/role-bus.ts";
import { tempDir, type TempDir } from "../kit/temp-dir.ts";

/** NATS's own command line: `go install github.com/nats-io/natscli/nats@latest`. */
const CLI = process.env["TIERMESH_TEST_NATS_CLI"] ?? "nats";
const version = spawnSync(CLI, ["--version"], { encoding: "utf8" });
const absent = version.status !== 0;
if (absent)
  process.stderr.write(`nats-cli.test.ts is skipped: no ${CLI} here (set TIERMESH_TEST_NATS_CLI to its path)\n`);

let bus: RoleBus;
let folder: TempDir;

beforeAll(async () => {
  folder = tempDir("tiermesh-nats-cli-");
  bus = await startRoleBus();
  for (const name of HOLDER_NAMES) writeNkeyFile(path.join(folder.path, `${name}.nk`), bus.nkeys[name]);
  mkdirSync(path.join(folder.path, "config"));
});
afterAll(async () => {
  await bus[Symbol.asyncDispose]();
  await folder.remove();
});

function nats(name: HolderName, ...args: string[]): string {
  const { path: dir } = folder;
  const key = ["--nkey", path.join(dir, `${name}.nk`), "--inbox-prefix", bus.inboxOf(name)];
  const env = { PATH: process.env["PATH"], HOME: dir, XDG_CONFIG_HOME: path.join(dir, "config") };
  const options = { encoding: "utf8", env, timeout: 20_000 } as const;
  const { stdout, stderr } = spawnSync(
    CLI,
    ["-s", `nats://127.0.0.1:${bus.port}`, ...key, "--timeout", "2s", ...args],
    options,
  );
  return stdout + stderr;
}

test.skipIf(absent).each<[HolderName, string, string]>([
  ["egress", "sub", "mesh.main.job.run.P0.cloud-1"],
  ["egress", "sub", "mesh.main.job.sealed.P1.>"],
  ["egress", "pub", "mesh.main.heartbeat.L1.cloud-1"],
  ["agent", "sub", "mesh.main.job.run.P0.pc-1"],
  ["agent", "pub", "mesh.main.event.job_decided.P0.router.router-1"],
  ["client", "sub", ">"],
  ["client", "pub", "mesh.main.job.run.P2.gpu-1"],
  ["gateway", "pub", "mesh.main.registry.add"],
  ["router", "sub", "mesh.main.event.>"],
  ["auditor", "pub", "$JS.API.STREAM.PURGE.AUDIT"],
  ["monitor", "pub", "mesh.main.node.control.gpu-1"],
  ["operator", "pub", "$JS.API.STREAM.MSG.DELETE.AUDIT"],
  ["tools", "sub", "_INBOX.own.>"],
  ["keeper", "pub", "$JS.API.STREAM.DELETE.AUDIT"],
  ["join", "pub", "mesh.main.registry.join.gpu-1"],
])("nats, with the key of %s, is refused to %s %s", (name, verb, subject) => {
  const more = verb === "pub" ? ["{}"] : ["--wait", "1s"];
  const way = verb === "pub" ? "Publish" : "Subscription";
  expect(nats(name, verb, subject, ...more)).toContain(`Permissions Violation for ${way} to "${subject}"`);
});

test.skipIf(absent).each<[HolderName, string, string]>([
  ["egress", "sub", "mesh.main.job.run.P2.cloud-1"],
  ["agent", "pub", "mesh.main.heartbeat.L1.gpu-1"],
  ["client", "pub", "mesh.main.job.submit.chat"],
  ["tools", "sub", "mesh.main.event.>"],
  ["join", "pub", "mesh.main.registry.join.new-1"],
])("nats, with the key of %s, may %s %s", (name, verb, subject) => {
  const said = nats(name, verb, subject, ...(verb === "pub" ? ["{}"] : ["--wait", "1s"]));
  expect(said).toContain(verb === "pub" ? "Published 2 bytes" : "Subscribing on");
  expect(said).not.toContain("Violation");
});
