import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import path from "node:path";
import { MeshError } from "../../bus-schemas/index.ts";
import { readProviders } from "../egress/providers-file.ts";
import { findAccount } from "./account.ts";
import type { Layout } from "./layout.ts";
import type { Machine } from "./machine.ts";

/** Permission bits of a file's owner, group and everybody to read it. */
const READ = { owner: 0o400, group: 0o040, other: 0o004 };

/**
 * An egress agent without providers, or that may not read them, would only fail at its start.
 * @returns how many providers there are
 * @throws MeshError `bad_config` saying what is wrong with the file and what to do
 */
export async function checkProviders(machine: Machine, layout: Layout): Promise<number> {
  const { account, configDir } = layout;
  const file = path.join(configDir, "providers.yaml");
  const here = machine.at(file);
  const keys = path.join(configDir, "agent.env");
  if (!existsSync(here))
    throw wrong(
      `an egress agent serves the providers in ${file}: write it first (docs/egress.md), and its keys into ${keys}, mode 0600`,
    );
  if (machine.platform !== "win32" && !(await mayRead(machine, layout, here)))
    throw wrong(
      `the agent's account ${account} may not read ${file}: chmod 644 ${file} (keys do not belong there, but into ${keys}, mode 0600)`,
    );
  return readProviders(here).length;
}

/** Whether the agent's account may read a file; one that is still to be made, as everybody may. */
async function mayRead(machine: Machine, { account }: Layout, file: string): Promise<boolean> {
  const { gid, mode, uid } = await stat(file);
  const ids = await findAccount(machine, account);
  if (ids?.uid === uid) return (mode & READ.owner) !== 0;
  if (ids?.gid === gid) return (mode & READ.group) !== 0;
  return (mode & READ.other) !== 0;
}

function wrong(message: string): MeshError {
  return new MeshError("bad_config", message, { field: "profile" });
}
