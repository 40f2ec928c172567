import { existsSync } from "node:fs";
import { releaseKeyFile, type Place } from "../../agent/install/install.ts";
import { readRecord } from "../../agent/install/record.ts";
import { isForUpgrades } from "../../agent/install/service-manager.ts";
import { wishUnit } from "../../agent/install/systemd-upgrade.ts";
import { readOutcome } from "../../agent/upgrade/files.ts";
import { placeOf } from "../agent/place.ts";
import type { Check, Finding } from "./check.ts";

/** Whether the installed agent could be upgraded by the mesh (ADR 0030), and how the last time went. */
export const upgrades: Check = { name: "upgrades", check: () => lookAtUpgrades(placeOf()) };

/** @see upgrades */
export async function lookAtUpgrades({ layout, machine, manager }: Place): Promise<Finding> {
  const record = readRecord(machine, layout);
  if (record === undefined) return { level: "ok", says: "not by the mesh: this agent was not installed by `install`" };
  const definitions = manager.definitions({ layout, profile: record.profile ?? undefined });
  const gone = definitions
    .map((each) => each.path)
    .find((file) => isForUpgrades(file) && !existsSync(machine.at(file)));
  const todo = "sudo tiermesh-agent install puts it right";
  if (gone !== undefined) return { level: "warn", says: `not by the mesh: ${gone} is not there`, todo };
  if (!existsSync(machine.at(releaseKeyFile(layout))))
    return { level: "ok", says: "not by the mesh: this machine trusts no release key (install --release-key)" };
  if (manager.notRunning() === undefined && machine.platform === "linux") {
    const unit = wishUnit(layout);
    const { code } = await machine.run("systemctl", ["is-active", "--quiet", unit]);
    if (code !== 0) return { level: "warn", says: `not by the mesh: ${unit} does not run`, todo };
  }
  const last = readOutcome(machine.at(layout.upgradeDir));
  if (last === undefined) return { level: "ok", says: "signed ones, by the mesh" };
  const says = `the last one by the mesh, ${last.at}: ${last.phase}${last.to === null ? "" : ` (${last.to})`}`;
  return last.phase === "healthy" || last.phase === "switching"
    ? { level: "ok", says }
    : { level: "warn", says, todo: last.message ?? "see the log of its upgrade service" };
}
