import { existsSync, readFileSync } from "node:fs";
import type { Environment } from "../../service/config.ts";
import { layoutOf } from "../install/layout.ts";
import { PACKAGED_EXECUTABLE, PACKAGED_UNIT } from "../install/systemd.ts";
import { systemdUpgradeUnits } from "../install/systemd-upgrade.ts";
import { RELEASE_KEY_VARIABLE, UPGRADE_DIR_VARIABLE } from "../install/upgrade-environment.ts";
import { UpgradeError } from "./upgrade-error.ts";

/** What an agent that can be upgraded over the bus knows of its installation. */
export interface UpgradePlace {
  /** The agent's own. */
  stateDir: string;
  /** Root's; there is the outcome. */
  upgradeDir: string;
  /** Text of the key that releases are signed by. */
  releaseKey: string;
  platform: NodeJS.Platform;
  arch: string;
}

/** @throws UpgradeError `managed_by_package`, `not_installed`, `release_key_missing` */
export function upgradePlaceOf(
  env: Environment,
  stateDir: string,
  { platform = process.platform, arch = process.arch, program = process.execPath } = {},
): UpgradePlace {
  if (platform === "linux" && program === PACKAGED_EXECUTABLE && existsSync(PACKAGED_UNIT))
    throw new UpgradeError("managed_by_package", "this agent came as a package: apt upgrades it");
  const upgradeDir = env[UPGRADE_DIR_VARIABLE] ?? "";
  const keyFile = env[RELEASE_KEY_VARIABLE] ?? "";
  if (upgradeDir === "" || keyFile === "")
    throw new UpgradeError(
      "not_installed",
      "this agent is no installed service that can be upgraded from here (tiermesh-agent install)",
    );
  const layout = layoutOf(platform, env);
  if (
    platform === "linux" &&
    program === layout.executable &&
    !systemdUpgradeUnits(layout).every(({ path }) => existsSync(path))
  )
    throw new UpgradeError(
      "not_installed",
      "this agent was installed before there were upgrades by the mesh: run `tiermesh-agent install` once more",
    );
  return { stateDir, upgradeDir, releaseKey: readKey(keyFile), platform, arch };
}

function readKey(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new UpgradeError(
      "release_key_missing",
      "this machine trusts no release key (tiermesh-agent install --release-key), so it takes no upgrade over the bus",
      cause,
    );
  }
}
