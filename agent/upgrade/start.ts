import type { Environment } from "../../service/config.ts";
import { runCommand } from "../../service/run-command.ts";
import { VERSION } from "../../service/version.ts";
import { UPGRADE_TASK } from "../install/windows-upgrade.ts";
import { upgradePlaceOf } from "./place.ts";
import { Upgrader, type UpgraderParts } from "./upgrader.ts";

/** The upgrader of this process. */
export function upgraderOf({
  env,
  stateDir,
  ...parts
}: Pick<UpgraderParts, "bus" | "nodeId" | "events" | "log" | "signal"> & {
  env: Environment;
  stateDir: string;
}): Upgrader {
  const upgrader = new Upgrader({
    ...parts,
    version: VERSION,
    place: () => upgradePlaceOf(env, stateDir),
    wake: async () => {
      // systemd and launchd watch the file; Windows' task is allowed to be run by this service (install/windows-upgrade.ts).
      if (process.platform === "win32")
        await runCommand("schtasks.exe", ["/Run", "/TN", UPGRADE_TASK], { timeoutMs: 10_000 });
    },
  });
  upgrader.start();
  return upgrader;
}
