import { existsSync } from "node:fs";
import { readdir, rm, rmdir } from "node:fs/promises";
import path from "node:path";
import { removeAccount } from "./account.ts";
import { releaseKeyFile, type Place } from "./install.ts";
import { installedMember } from "./join.ts";
import { checkNotPackaged, checkPrivileged } from "./preflight.ts";
import { readRecord } from "./record.ts";
import { MeshError } from "../../bus-schemas/index.ts";

export interface Uninstalled {
  /** False when there was nothing. */
  wasInstalled: boolean;
  /** Folders that stay without `purge`. */
  kept: string[];
  /** The node that the mesh still lists after a purge. */
  forgotten: string | null;
}

/**
 * Stops the agent in order (it drains for some seconds) and removes what the installation made. State and configuration stay, so that
 * a later installation is the same node, unless `purge`. Nothing installed, or half of it, is no error: what is there goes.
 * @throws MeshError `forbidden` without the right to, `internal` naming what could not be removed
 */
export async function uninstallAgent(
  { machine, layout, manager }: Place,
  { purge }: { purge: boolean },
  say: (line: string) => void,
): Promise<Uninstalled> {
  checkPrivileged(machine, "uninstall");
  checkNotPackaged(machine, "uninstall");
  const record = orUndefined(() => readRecord(machine, layout));
  const member = orUndefined(() => installedMember(machine, layout));
  const state = await manager.state(layout);
  const wasInstalled = state.installed || existsSync(machine.at(layout.executable));
  await manager.stop(layout);
  if (state.running) say("stopped");
  await manager.unregister(layout);
  const gone = [layout.executable, layout.previous, `${layout.executable}.undo`, `${layout.executable}.new`];
  for (const file of gone) await rm(machine.at(file), { force: true });
  if (wasInstalled) say(`removed ${layout.executable} and its service`);
  // Of the configuration the record, too: it says whether the account goes with the rest one day.
  const kept = [layout.stateDir, layout.configDir].filter((dir) => existsSync(machine.at(dir)));
  if (!purge) return { wasInstalled, kept, forgotten: null };

  for (const dir of [
    layout.stateDir,
    layout.cacheDir,
    layout.upgradeDir,
    ...(layout.logDir === null ? [] : [layout.logDir]),
  ])
    await rm(machine.at(dir), { recursive: true, force: true });
  if (machine.platform === "darwin") await rm(machine.at(layout.runDir), { recursive: true, force: true });
  for (const name of ["agent.env", path.basename(releaseKeyFile(layout))])
    await rm(machine.at(path.join(layout.configDir, name)), { force: true });
  await rm(machine.at(layout.record), { force: true });
  // A company's limits, providers, or another part's variables, are not ours to take.
  await rmdir(machine.at(layout.configDir)).catch(() => undefined);
  const others = await readdir(machine.at(layout.configDir)).catch(() => []);
  if (record?.account_made === true) await removeAccount(machine, layout.account);
  say("removed its state, configuration and account");
  if (others.length > 0) say(`left what was written by others in ${layout.configDir}: ${others.join(", ")}`);
  return { wasInstalled, kept: [], forgotten: member?.node_id ?? null };
}

/** A damaged file keeps nobody from removing it. */
function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof MeshError && error.code === "bad_config") return undefined;
    throw error;
  }
}
