import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { installAgent } from "../../agent/install/install.ts";
import { layoutOf } from "../../agent/install/layout.ts";
import { createSystemd } from "../../agent/install/systemd.ts";
import { outcomeFile, type UpgradeOutcome } from "../../agent/upgrade/files.ts";
import { newSigningKeys } from "../../service/release-signature.ts";
import { FakeMachine, SMALL_PROGRAM } from "../../test/kit/fake-machine.ts";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { lookAtUpgrades } from "./upgrades.ts";

test("what keeps a machine from upgrades by the mesh is said with what to do, and how the last one went", async () => {
  const made = tempDir("tiermesh-image-");
  onTestFinished(() => made.remove());
  mkdirSync(path.join(made.path, "etc"));
  writeFileSync(path.join(made.path, "etc/group"), "root:x:0:\n");
  writeFileSync(path.join(made.path, "etc/passwd"), "root:x:0:0::/root:/bin/sh\n");
  const machine = new FakeMachine(made.path, () => 0);
  const layout = layoutOf("linux");
  const place = { machine, layout, manager: createSystemd(machine) };
  const look = () => lookAtUpgrades(place);
  const install = (releaseKey?: string) =>
    installAgent(place, { executable: SMALL_PROGRAM, version: "1.0.0", start: false, releaseKey }, () => undefined);

  expect(await look()).toMatchObject({ level: "ok", says: expect.stringContaining("not installed by") });
  await install();
  expect(await look()).toMatchObject({ level: "ok", says: expect.stringContaining("trusts no release key") });
  await install(newSigningKeys().publicKeyPem);
  expect(await look()).toEqual({ level: "ok", says: "signed ones, by the mesh" });
  const last: UpgradeOutcome = {
    v: 1,
    id: "a",
    phase: "rolled_back",
    from: "1.0.0",
    to: "1.1.0",
    problem: "not_healthy",
    message: "1.1.0 did not come up",
    at: "2026-11-26T09:00:00.000Z",
  };
  mkdirSync(machine.at(layout.upgradeDir), { recursive: true });
  writeFileSync(outcomeFile(machine.at(layout.upgradeDir)), JSON.stringify(last));
  expect(await look()).toEqual({
    level: "warn",
    says: "the last one by the mesh, 2026-11-26T09:00:00.000Z: rolled_back (1.1.0)",
    todo: "1.1.0 did not come up",
  });
  rmSync(machine.at("/etc/systemd/system/tiermesh-agent-upgrade.path"));
  expect(await look()).toMatchObject({ level: "warn", todo: expect.stringContaining("install") });
});
