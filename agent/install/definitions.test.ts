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
import { winswXml } from "./windows-service.ts";
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
