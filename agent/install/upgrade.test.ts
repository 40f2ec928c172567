import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { fileDigest } from "../../service/release-signature.ts";
import { machineWith, versionIn } from "../../test/kit/installed-machine.ts";
import { readRecord } from "./record.ts";
import { rollBackAgent } from "./upgrade.ts";

const quiet = () => undefined;
const onLinux = test.skipIf(process.platform !== "linux");

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
