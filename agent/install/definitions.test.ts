import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { PROFILES } from "../manners/settings.ts";
import { FakeMachine } from "../../test/kit/fake-machine.ts";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { launchdDefinitions } from "./launchd.ts";
import { layoutOf } from "./layout.ts";
import { createSystemd, systemdUnit } from "./systemd.ts";
import { systemdUpgradeUnits } from "./systemd-upgrade.ts";
import { winswXml } from "./windows-service.ts";
import { serviceSid, upgradeTask } from "./windows-upgrade.ts";
import { plist } from "./xml.ts";

const profiles = [undefined, ...PROFILES];
const hasPython = spawnSync("python3", ["--version"]).status === 0;

function python(code: string, input: string): unknown {
  const { status, stdout, stderr } = spawnSync("python3", ["-c", code], { input, encoding: "utf8" });
  expect([status, stderr]).toEqual([0, ""]);
  return JSON.parse(stdout);
}
const PLIST = "import sys,json,plistlib; print(json.dumps(plistlib.loads(sys.stdin.buffer.read())))";
const XML = `import sys,json,xml.etree.ElementTree as t
root = t.parse(sys.stdin).getroot()
print(json.dumps({"root": root.tag, "env": {e.get("name"): e.get("value") for e in root.findall("env")}, "text": {e.tag: e.text for e in root if e.tag != "env"}}))`;

test.skipIf(spawnSync("systemd-analyze", ["--version"]).status !== 0)(
  "systemd takes the unit of every profile without a word, and finds it at most 2.0 exposed",
  () => {
    const folder = tempDir("tiermesh-unit-");
    onTestFinished(() => folder.remove());
    // A program that this machine has.
    const layout = { ...layoutOf("linux"), executable: process.execPath };
    for (const profile of profiles) {
      const file = path.join(folder.path, "tiermesh-agent.service");
      writeFileSync(file, systemdUnit({ layout, profile }, ["video"]));
      const verified = spawnSync("systemd-analyze", ["verify", file], { encoding: "utf8" });
      expect([profile, verified.status, verified.stderr]).toEqual([profile, 0, ""]);
      const args = ["security", "--offline=true", "--threshold=20", file];
      const { status, stdout } = spawnSync("systemd-analyze", args, { encoding: "utf8" });
      expect([status, stdout.slice(-120)]).toEqual([0, expect.stringContaining("exposure level")]);
    }
  },
);

test.skipIf(spawnSync("systemd-analyze", ["--version"]).status !== 0)(
  "systemd takes the units of upgrades by the mesh without a word; root's part is at most 3.0 exposed",
  () => {
    const folder = tempDir("tiermesh-upgrade-units-");
    onTestFinished(() => folder.remove());
    const layout = { ...layoutOf("linux"), executable: process.execPath };
    const units = systemdUpgradeUnits(layout);
    // What it is ordered behind, for `verify` looks for it.
    writeFileSync(path.join(folder.path, "tiermesh-agent.service"), systemdUnit({ layout, profile: undefined }, []));
    const files = units.map(({ path: name, text }) => {
      const file = path.join(folder.path, path.basename(name));
      writeFileSync(file, text);
      return file;
    });
    const verified = spawnSync("systemd-analyze", ["verify", ...files], { encoding: "utf8" });
    expect([verified.status, verified.stderr]).toEqual([0, ""]);
    expect(units.map(({ text }) => text).join("\n")).toContain(
      "PathChanged=/var/lib/tiermesh-agent/upgrade/wish/wish.json\nUnit=tiermesh-agent-upgrade.service",
    );
    const args = ["security", "--offline=true", "--threshold=30", files[0] ?? ""];
    const { status, stdout } = spawnSync("systemd-analyze", args, { encoding: "utf8" });
    expect([status, stdout.slice(-120)]).toEqual([0, expect.stringContaining("exposure level")]);
  },
);

test("a Windows service's SID is the one that Windows gives it, and the task lets that account run it", () => {
  // The one that every Windows has, as Microsoft documents it.
  expect(serviceSid("TrustedInstaller")).toBe("S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464");
  expect(serviceSid("tiermesh-agent")).toBe(serviceSid("TIERMESH-AGENT"));
  expect(upgradeTask(layoutOf("win32"))).toContain(`(A;;GRGX;;;${serviceSid("tiermesh-agent")})`);
});

test.skipIf(!hasPython)("the Windows task is well-formed, and runs root's part as the system", () => {
  const namespace = "{http://schemas.microsoft.com/windows/2004/02/mit/task}";
  const code = `import sys,json,xml.etree.ElementTree as t
root = t.parse(sys.stdin).getroot()
print(json.dumps([root.tag] + [e.text for n in ("Command", "Arguments", "UserId") for e in root.iter("${namespace}" + n)]))`;
  expect(python(code, upgradeTask(layoutOf("win32")))).toEqual([
    `${namespace}Task`,
    String.raw`C:\Program Files\tiermesh\tiermesh-agent.exe`,
    "upgrade --requested --json",
    "S-1-5-18",
  ]);
});

test.skipIf(!hasPython)("launchd starts root's part when the agent has written its wish", () => {
  const layout = layoutOf("darwin");
  const upgrade = launchdDefinitions({ layout, profile: undefined }).at(-1);
  expect(upgrade?.path).toBe("/Library/LaunchDaemons/com.tiermesh.agent-upgrade.plist");
  expect(python(PLIST, upgrade?.text ?? "")).toMatchObject({
    ProgramArguments: [layout.executable, "upgrade", "--requested", "--json"],
    WatchPaths: ["/Library/Application Support/tiermesh/agent/upgrade/wish"],
    RunAtLoad: true,
  });
});

test("a unit names only groups that there are, and V8 may compile", () => {
  const folder = tempDir("tiermesh-groups-");
  onTestFinished(() => folder.remove());
  const options = { layout: layoutOf("linux"), profile: undefined };
  const unit = () => createSystemd(new FakeMachine(folder.path, () => 0)).definitions(options)[0]?.text ?? "";
  expect(unit()).not.toMatch(/SupplementaryGroups|MemoryDenyWriteExecute/);
  mkdirSync(path.join(folder.path, "etc"));
  writeFileSync(path.join(folder.path, "etc/group"), "render:x:105:\nvideos:x:1:\n");
  expect(unit()).toMatch(/^SupplementaryGroups=render$/m);
});

test.skipIf(!hasPython).each(profiles)("launchd's property lists are such, with profile %s", (profile) => {
  const layout = layoutOf("darwin");
  const [daemon, helper] = launchdDefinitions({ layout, profile });
  expect(python(PLIST, daemon?.text ?? "")).toMatchObject({
    Label: "com.tiermesh.agent",
    ProgramArguments: ["/usr/local/bin/tiermesh-agent", "run", "--json"],
    UserName: "_tiermesh",
    KeepAlive: true,
    Umask: 63,
    EnvironmentVariables: {
      TIERMESH_HOME: layout.stateDir,
      ...(profile === undefined ? {} : { TIERMESH_PROFILE: profile }),
    },
  });
  expect(python(PLIST, helper?.text ?? "")).toMatchObject({
    Label: "com.tiermesh.presence",
    ProgramArguments: ["/usr/local/bin/tiermesh-agent", "presence"],
    LimitLoadToSessionType: "Aqua",
  });
  expect([daemon?.path, helper?.path]).toEqual([
    "/Library/LaunchDaemons/com.tiermesh.agent.plist",
    "/Library/LaunchAgents/com.tiermesh.presence.plist",
  ]);
});

test.skipIf(!hasPython)("a value that XML would take for its own comes back as it was", () => {
  const value = { 'a&"b"': ["<x>", true, 7, { "]]>": "'" }] };
  expect(python(PLIST, plist(value))).toEqual(value);
});

test.skipIf(!hasPython).each(profiles)("WinSW's configuration is well-formed, with profile %s", (profile) => {
  const layout = layoutOf("win32", { ProgramData: String.raw`D:\Data & more` });
  expect(python(XML, winswXml({ layout, profile }))).toMatchObject({
    root: "service",
    env: {
      TIERMESH_HOME: String.raw`D:\Data & more\tiermesh\agent`,
      ...(profile === undefined ? {} : { TIERMESH_PROFILE: profile }),
    },
    text: {
      id: "tiermesh-agent",
      executable: String.raw`C:\Program Files\tiermesh\tiermesh-agent.exe`,
      arguments: "run --json",
      stoptimeout: "20 sec",
    },
  });
});
