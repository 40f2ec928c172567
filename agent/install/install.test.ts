import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { newSigningKeys } from "../../service/release-signature.ts";
import { FakeMachine, SMALL_PROGRAM, treeOf, type Answer } from "../../test/kit/fake-machine.ts";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { installAgent, type InstallRequest } from "./install.ts";
import { layoutOf } from "./layout.ts";
import { checkSpace } from "./preflight.ts";
import { checkProviders } from "./providers-check.ts";
import { readRecord } from "./record.ts";
import { createSystemd } from "./systemd.ts";
import { uninstallAgent } from "./uninstall.ts";

/** The image of a machine, whose tools do what they should unless `answer` says otherwise. */
function image(answer: Answer = () => undefined) {
  const made = tempDir("tiermesh-image-");
  onTestFinished(() => made.remove());
  mkdirSync(path.join(made.path, "etc"));
  writeFileSync(path.join(made.path, "etc/group"), "root:x:0:\nvideo:x:44:\n");
  writeFileSync(path.join(made.path, "etc/passwd"), "root:x:0:0::/root:/bin/sh\n");
  let [enabled, account] = [false, false];
  const machine: FakeMachine = new FakeMachine(made.path, (program, args) => {
    const said = answer(program, args);
    if (said !== undefined) return said;
    if (program === "grep") return account ? 0 : 1;
    if (program === "useradd") account = true;
    if (program === "userdel") account = false;
    if (args.includes("enable")) enabled = true;
    if (args.includes("disable")) enabled = false;
    if (args.includes("is-enabled")) return enabled ? "enabled\n" : 1;
    return 0;
  });
  const place = { machine, layout: layoutOf("linux"), manager: createSystemd(machine) };
  const said: string[] = [];
  const install = (more: Partial<InstallRequest> = {}) =>
    installAgent(place, { executable: SMALL_PROGRAM, version: "1.0.0", start: true, ...more }, (line) =>
      said.push(line),
    );
  return { ...place, root: made.path, install, said };
}

const onLinux = test.skipIf(process.platform !== "linux");

onLinux("everything is put where the system has it, and a second time nothing is changed", async () => {
  const { install, layout, machine } = image();
  const done = await install({ profile: "server" });
  expect(done).toMatchObject({ node: null, running: false, notes: [expect.stringContaining("tiermesh-agent join")] });
  expect(statSync(machine.at(layout.executable)).mode & 0o777).toBe(0o755);
  const unit = readFileSync(machine.at("/etc/systemd/system/tiermesh-agent.service"), "utf8");
  expect(unit).toContain("Environment=TIERMESH_PROFILE=server");
  expect(unit).toMatch(/^SupplementaryGroups=video$/m);
  expect(readRecord(machine, layout)).toMatchObject({ version: "1.0.0", profile: "server", account_made: true });
  expect(await install()).toMatchObject({ changed: [] });
  expect(readRecord(machine, layout)).toMatchObject({ profile: "server", account_made: true });
});

onLinux("what was broken in between is put right, and nothing else is touched", async () => {
  const { install, layout, machine } = image();
  await install();
  const whole = treeOf(machine.root);
  writeFileSync(machine.at(layout.executable), "half");
  chmodSync(machine.at(layout.record), 0o600);
  expect((await install()).changed).toEqual([`program ${machine.at(layout.executable)}`, "record"]);
  expect(treeOf(machine.root)).toEqual(whole);
});

onLinux.each([
  ["the account cannot be made", (program: string) => (program === "useradd" ? 9 : undefined), "useradd says no"],
  [
    "the service manager refuses",
    (_: string, args: readonly string[]) => (args.includes("enable") ? 1 : undefined),
    "systemctl says no",
  ],
])("when %s the machine is as it was, and it is said why", async (_, answer, words) => {
  const { install, machine, root } = image(answer);
  const before = treeOf(root);
  await expect(install()).rejects.toThrow(words);
  expect(treeOf(root)).toEqual(before);
  const made = machine.ran.filter((line) => line.startsWith("useradd")).length;
  if (words.startsWith("systemctl"))
    expect([made, machine.ran.some((line) => line.startsWith("userdel"))]).toEqual([1, true]);
});

type Image = ReturnType<typeof image>;
const nothing = () => undefined;
const file =
  (name: string, text: string, mode = 0o644) =>
  (place: Image) => {
    mkdirSync(path.dirname(path.join(place.root, name)), { recursive: true });
    writeFileSync(path.join(place.root, name), text, { mode });
  };
const PROVIDERS = "providers:\n  - {provider: deepseek, models: [{upstream: deepseek-chat}]}\n";

onLinux.each<[string, (place: Image) => void, Partial<InstallRequest>, object]>([
  [
    "a user without the right to",
    ({ machine }) => void (machine.privileged = false),
    {},
    { code: "forbidden", message: expect.stringContaining("sudo") },
  ],
  [
    "a unit that somebody wrote by hand",
    file("etc/systemd/system/tiermesh-agent.service", "[Unit]\n"),
    {},
    { code: "conflict", message: expect.stringContaining("move it away") },
  ],
  [
    "an agent from a package",
    file("usr/lib/systemd/system/tiermesh-agent.service", ""),
    {},
    { code: "conflict", message: expect.stringContaining("apt") },
  ],
  [
    "a damaged record",
    file("etc/tiermesh/install.json", "{"),
    {},
    { code: "bad_config", message: expect.stringContaining("install.json is damaged; remove it and install again") },
  ],
  ["a file that is no program", nothing, { executable: "/etc/hostname" }, { code: "bad_config", field: "from" }],
  ["a token that is none", nothing, { token: "hello" }, { code: "bad_config", field: "join" }],
  [
    "a private key as the release key",
    nothing,
    { releaseKey: newSigningKeys().privateKeyPem },
    { code: "bad_config", message: expect.stringContaining("private") },
  ],
  ["an egress agent without providers", nothing, { profile: "egress" }, { code: "bad_config", field: "profile" }],
  [
    "providers that the account may not read",
    file("etc/tiermesh/providers.yaml", PROVIDERS, 0o600),
    { profile: "egress" },
    { code: "bad_config", message: expect.stringContaining("chmod 644 /etc/tiermesh/providers.yaml") },
  ],
  [
    "providers that are none",
    file("etc/tiermesh/providers.yaml", "providers:\n  - {name: big, kind: openai, models: []}\n"),
    { profile: "egress" },
    { code: "bad_config", message: expect.stringMatching(/providers\.yaml:2/) },
  ],
])("%s is told, and nothing is changed", async (_, prepare, request, error) => {
  const place = image();
  prepare(place);
  const before = treeOf(place.root);
  await expect(place.install(request)).rejects.toMatchObject(error);
  expect([place.said, treeOf(place.root)]).toEqual([[], before]);
});

onLinux("without room for a second copy of the program nothing begins", async () => {
  await expect(checkSpace("/no/such/folder/agent", Number.MAX_SAFE_INTEGER)).rejects.toMatchObject({
    code: "bad_config",
    message: expect.stringMatching(/MB are needed and \d+ MB free; nothing was changed/),
  });
});

onLinux(
  "an uninstall leaves state and configuration; a purge leaves nothing, also of a half installation",
  async () => {
    const place = image();
    const { layout, machine, root } = place;
    const before = treeOf(root);
    await place.install({ releaseKey: newSigningKeys().publicKeyPem });
    mkdirSync(machine.at(layout.stateDir), { recursive: true });
    writeFileSync(machine.at(path.join(layout.stateDir, "key")), "");
    copyFileSync(SMALL_PROGRAM, machine.at(layout.previous));
    const said: string[] = [];
    const kept = await uninstallAgent(place, { purge: false }, (line) => said.push(line));
    expect(kept).toMatchObject({ wasInstalled: true, kept: [layout.stateDir, layout.configDir] });
    expect([layout.executable, layout.previous].map((file) => existsSync(machine.at(file)))).toEqual([false, false]);
    expect(machine.ran.some((line) => line.startsWith("userdel"))).toBe(false);
    expect(await uninstallAgent(place, { purge: true }, () => undefined)).toMatchObject({
      wasInstalled: false,
      kept: [],
    });
    expect(machine.ran.some((line) => line.startsWith("userdel"))).toBe(true);
    const folders = ["usr", "usr/local", "usr/local/bin", "etc/systemd", "etc/systemd/system", "var", "var/lib"];
    const left = treeOf(root).filter((line) => !folders.includes(line.split(" ")[1] ?? ""));
    expect(left).toEqual(before);
  },
);

onLinux("a company's limits and another part's variables survive a purge", async () => {
  const place = image();
  await place.install();
  const company = place.machine.at("/etc/tiermesh/agent-policy.yaml");
  writeFileSync(company, "user_active: false\n");
  const said: string[] = [];
  await uninstallAgent(place, { purge: true }, (line) => said.push(line));
  expect(existsSync(company)).toBe(true);
  expect(said.at(-1)).toBe("left what was written by others in /etc/tiermesh: agent-policy.yaml");
});

onLinux("an egress agent is installed when its account may read its providers", async () => {
  const place = image();
  file("etc/tiermesh/providers.yaml", PROVIDERS)(place);
  expect((await place.install({ profile: "egress" })).running).toBe(false);
  expect(await checkProviders(place.machine, place.layout)).toBe(1);
});
