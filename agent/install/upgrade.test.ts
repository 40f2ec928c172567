import { copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { fileDigest, newSigningKeys, writeSignature } from "../../service/release-signature.ts";
import { FakeMachine, FakeManager, SMALL_PROGRAM, layoutBelow } from "../../test/kit/fake-machine.ts";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { installAgent } from "./install.ts";
import { readRecord } from "./record.ts";
import { rollBackAgent, upgradeAgent } from "./upgrade.ts";

const KEYS = newSigningKeys();
const quiet = () => undefined;
const onLinux = test.skipIf(process.platform !== "linux");

/** A program of this version: a real one of the system, with the version behind its end. */
function program(file: string, version: string): string {
  copyFileSync(SMALL_PROGRAM, file);
  writeFileSync(file, Buffer.concat([readFileSync(SMALL_PROGRAM), Buffer.from(`#${version}`)]));
  return file;
}

const versionIn = (file: string) => readFileSync(file, "latin1").split("#").at(-1) ?? "";

/** A machine on which 1.0.0 is installed and runs. */
async function machineWith({ releaseKey = true } = {}) {
  const made = tempDir("tiermesh-upgrade-");
  const layout = layoutBelow(path.join(made.path, "m"));
  const manager = new FakeManager(layout, () => versionIn(layout.executable));
  onTestFinished(async () => {
    await manager.stop();
    await made.remove();
  });
  let unit = manager.definitions();
  const machine = new FakeMachine("", (file, args) => {
    if (args[0] === "--version") return `${versionIn(file)}\n`;
    if (args[0] === "print-unit") return JSON.stringify(unit);
    return file === "id" ? String(args[0] === "-u" ? process.getuid?.() : process.getgid?.()) : undefined;
  });
  const place = { machine, layout, manager };
  const first = program(path.join(made.path, "first"), "1.0.0");
  const key = releaseKey ? KEYS.publicKeyPem : undefined;
  await installAgent(place, { executable: first, version: "1.0.0", releaseKey: key, start: false }, quiet);
  await manager.start();
  const file = path.join(made.path, "next");
  const signed = async (version: string, more: object = {}) => {
    program(file, version);
    const statement = {
      v: 1 as const,
      product: "tiermesh-agent",
      version,
      platform: process.platform,
      arch: process.arch,
      bytes: readFileSync(file).length,
      sha256: await fileDigest(file),
      ...more,
    };
    return { from: file, signature: writeSignature(statement, KEYS.privateKeyPem), sha256: undefined };
  };
  const upgrade = (what: { from: string; signature?: string | undefined; sha256?: string | undefined }, more = {}) =>
    upgradeAgent(
      place,
      { signature: undefined, sha256: undefined, downgrade: false, limitMs: 600, ...what, ...more },
      quiet,
    );
  const now = () => ({ program: versionIn(layout.executable), record: readRecord(machine, layout)?.version });
  return { ...place, file, signed, upgrade, now, setUnit: (definitions: typeof unit) => void (unit = definitions) };
}

onLinux(
  "a signed program takes the place of the old one and runs; the old one stays beside, and a way back to it",
  async () => {
    const { signed, upgrade, now, layout, manager, ...rest } = await machineWith();
    expect(await upgrade(await signed("1.1.0"))).toEqual({ from: "1.0.0", to: "1.1.0", changed: true });
    expect([now(), versionIn(layout.previous), manager.restarts]).toEqual([
      { program: "1.1.0", record: "1.1.0" },
      "1.0.0",
      1,
    ]);
    expect(await upgrade(await signed("1.1.0"))).toMatchObject({ changed: false });
    expect(manager.restarts).toBe(1);
    await rollBackAgent({ layout, manager, machine: rest.machine }, { limitMs: 600 }, quiet);
    expect([now(), versionIn(layout.previous)]).toEqual([{ program: "1.0.0", record: "1.0.0" }, "1.1.0"]);
  },
);

onLinux(
  "a program that does not come up is replaced by the old one, which runs again, with its own definitions",
  async () => {
    const { signed, upgrade, now, manager, layout, machine, setUnit } = await machineWith();
    const [unit] = manager.definitions();
    const file = machine.at(unit?.path ?? "");
    manager.broken.add("2.0.0");
    setUnit(manager.definitions().map((each) => ({ ...each, text: `${each.text}new\n` })));
    await expect(upgrade(await signed("2.0.0"))).rejects.toThrow(
      /^2\.0\.0 did not come up: .*does not answer on its socket.*1\.0\.0 is back and runs$/,
    );
    expect([now(), manager.running, readFileSync(file, "utf8")]).toEqual([
      { program: "1.0.0", record: "1.0.0" },
      true,
      unit?.text,
    ]);
    expect(readRecord(machine, layout)?.upgrading_from).toBeNull();
  },
);

onLinux("a new program may change how it is started, and may write nowhere else", async () => {
  const { signed, upgrade, now, manager, machine, setUnit } = await machineWith();
  const [unit] = manager.definitions();
  setUnit(manager.definitions().map((each) => ({ ...each, text: `${each.text}new\n` })));
  await upgrade(await signed("1.1.0"));
  expect(readFileSync(unit?.path ?? "", "utf8")).toContain("new");
  const elsewhere = path.join(path.dirname(machine.at(unit?.path ?? "")), "shadow");
  setUnit([{ path: elsewhere, text: "", mode: 0o644 }]);
  await expect(upgrade(await signed("1.2.0"))).rejects.toThrow("print-unit cannot be understood");
  expect([existsSync(elsewhere), now().program]).toEqual([false, "1.1.0"]);
});

onLinux("nothing but what the trusted key has signed for this system is taken, and nothing is changed", async () => {
  const { signed, upgrade, now, file, manager } = await machineWith();
  const good = () => signed("1.1.0");
  const otherBytes = /"signature": ".{4}/;
  // Each signs the file anew: they share it.
  const bad: [() => Promise<{ from: string }>, object][] = [
    [async () => ({ ...(await good()), signature: undefined }), { code: "forbidden", field: "signature" }],
    [async () => ({ ...(await good()), signature: "{}" }), { code: "bad_config", field: "signature" }],
    [
      async () => ({
        ...(await good()),
        signature: (await good()).signature.replace(otherBytes, '"signature": "AAAA'),
      }),
      { code: "forbidden", field: "signature" },
    ],
    [() => signed("1.1.0", { arch: "mips" }), { code: "forbidden", message: expect.stringContaining("mips") }],
    [() => signed("1.1.0", { product: "something-else" }), { code: "forbidden", field: "signature" }],
    [() => signed("1.1.0", { version: "9.9.9" }), { message: expect.stringContaining("signed as 9.9.9") }],
    [async () => ({ ...(await good()), sha256: "0".repeat(64) }), { code: "forbidden", field: "sha256" }],
    [() => signed("0.9.0"), { code: "conflict", message: expect.stringContaining("--downgrade") }],
  ];
  for (const [what, error] of bad) await expect(upgrade(await what())).rejects.toMatchObject(error);
  const tampered = await signed("1.1.0");
  writeFileSync(file, "more", { flag: "a" });
  await expect(upgrade(tampered)).rejects.toMatchObject({
    code: "forbidden",
    message: expect.stringContaining("SHA-256"),
  });
  expect([now().program, manager.restarts]).toEqual(["1.0.0", 0]);
});

onLinux("without a trusted key the administrator names the SHA-256, and nothing less will do", async () => {
  const { signed, upgrade, now, file } = await machineWith({ releaseKey: false });
  await signed("1.1.0");
  await expect(upgrade({ from: file })).rejects.toMatchObject({ code: "forbidden", field: "sha256" });
  await expect(upgrade({ from: file, sha256: "0".repeat(64) })).rejects.toMatchObject({ code: "forbidden" });
  await upgrade({ from: file, sha256: (await fileDigest(file)).toUpperCase() });
  expect(now().program).toBe("1.1.0");
});

onLinux("an upgrade of a machine without an agent, and a way back without an upgrade, say so", async () => {
  const { machine, manager, layout, signed, upgrade } = await machineWith();
  await expect(rollBackAgent({ machine, manager, layout }, { limitMs: 600 }, quiet)).rejects.toMatchObject({
    code: "not_found",
  });
  await manager.unregister();
  await expect(upgrade(await signed("1.1.0"))).rejects.toMatchObject({ code: "not_found" });
});
