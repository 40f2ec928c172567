import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";

/** Recipes of deploy/fleet are run by other programs: here it is seen that they are what those read, and that they call the agent rightly. */

const FLEET = path.join(import.meta.dirname, "..", "..", "deploy", "fleet");
const file = (...names: string[]) => path.join(FLEET, ...names);
const text = (...names: string[]) => readFileSync(file(...names), "utf8");
const there = (program: string) => spawnSync(program, ["--version"]).status === 0;

/** The one interface of the installed agent that all recipes use. */
const INSTALL = /^install --join-file \S+ --profile \S+$/;

interface Task {
  name?: string;
  block?: Task[];
  always?: Task[];
  no_log?: boolean;
  "ansible.builtin.command"?: { argv: string[] | string };
  "ansible.builtin.copy"?: { dest: string; mode: string };
}

test("the playbook hands the invitation over in a file of root's that is taken away whatever happens, and is not logged", () => {
  const [play] = parse(text("ansible", "playbook.yml")) as { hosts: string; tasks: Task[] }[];
  expect(play?.hosts).toBe("tiermesh");
  const all = (tasks: Task[]): Task[] =>
    tasks.flatMap((task) => [task, ...all(task.block ?? []), ...all(task.always ?? [])]);
  const tasks = all(play?.tasks ?? []);
  const argv = tasks.flatMap((task) => task["ansible.builtin.command"]?.argv ?? []);
  expect(
    argv
      .slice(1, 6)
      .join(" ")
      .replaceAll(/\{\{.*?\}\}/g, "X"),
  ).toMatch(INSTALL);
  const handed = tasks.filter((task) => task["ansible.builtin.copy"]?.dest.includes("join_on_target") === true);
  expect(handed).toMatchObject([{ no_log: true, "ansible.builtin.copy": { mode: "0600" } }]);
  expect(tasks.filter(({ always }) => always !== undefined)).toHaveLength(1);
  expect(parse(text("ansible", "inventory.yml"))).toHaveProperty("tiermesh.hosts");
});

test("the cloud-init example is YAML that begins as cloud-init wants it, and leaves no invitation behind", () => {
  const source = text("linux", "cloud-init.yaml");
  expect(source.startsWith("#cloud-config\n")).toBe(true);
  const { write_files: files, runcmd } = parse(source) as {
    write_files: { permissions: string; path: string }[];
    runcmd: string[][];
  };
  expect(files).toMatchObject([{ permissions: "0600" }]);
  expect(runcmd[0]?.slice(1).join(" ")).toMatch(INSTALL);
  expect(runcmd.at(-1)).toEqual(["rm", "-f", files[0]?.path]);
});

test.skipIf(!there("python3"))("the profile for Macs is a property list with the keys that Apple requires", () => {
  const program = "import json,plistlib,sys; print(json.dumps(plistlib.load(open(sys.argv[1],'rb'))))";
  const { status, stdout } = spawnSync("python3", ["-c", program, file("macos", "tiermesh-agent.mobileconfig")], {
    encoding: "utf8",
  });
  expect(status).toBe(0);
  const profile = JSON.parse(stdout) as Record<string, unknown> & { PayloadContent: Record<string, unknown>[] };
  const [payload = {}] = profile.PayloadContent;
  const uuid = /^[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}$/;
  for (const one of [profile, payload])
    expect(one).toMatchObject({
      PayloadVersion: 1,
      PayloadIdentifier: expect.stringMatching(/^com\.tiermesh\./),
      PayloadUUID: expect.stringMatching(uuid),
    });
  expect(profile).toMatchObject({ PayloadType: "Configuration", PayloadScope: "System" });
  expect(payload["PayloadType"]).toBe("com.apple.servicemanagement");
  expect(payload["Rules"]).toMatchObject([
    { RuleType: "Label", RuleValue: "com.tiermesh.agent" },
    { RuleType: "Label", RuleValue: "com.tiermesh.presence" },
  ]);
  expect(payload["PayloadUUID"]).not.toBe(profile["PayloadUUID"]);
});

test.skipIf(process.platform === "win32")(
  "the script for Macs is one that a shell reads, and refuses to begin without what it needs",
  () => {
    const script = file("macos", "install.sh");
    expect(spawnSync("sh", ["-n", script]).status).toBe(0);
    const { status, stderr } = spawnSync("sh", [script, "/no/such/program", "/no/such/invitation"], {
      encoding: "utf8",
    });
    expect([status, stderr]).toEqual([1, expect.stringMatching(/^tiermesh: (run this as root|no program at)/)]);
  },
);

test("scripts of both systems call the agent by the same interface", () => {
  expect(text("macos", "install.sh")).toMatch(
    /tiermesh-agent install --join-file "\$invitation" --profile workstation\n/,
  );
  expect(text("windows", "Install-TiermeshAgent.ps1")).toContain(
    "@('install', '--join-file', $join, '--profile', $AgentProfile)",
  );
});
