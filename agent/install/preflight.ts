import { existsSync, readFileSync } from "node:fs";
import { stat, statfs } from "node:fs/promises";
import path from "node:path";
import { MeshError } from "../../bus-schemas/index.ts";
import { checkFormat } from "./executable-format.ts";
import type { Layout } from "./layout.ts";
import type { Machine } from "./machine.ts";
import { PACKAGED_UNIT } from "./systemd.ts";
import { MADE_BY_US, type Definition, type ServiceManager } from "./service-manager.ts";

/** What is left free beside the program: its state and a journal need some. Bytes. */
const SPARE_BYTES = 64 * 1024 ** 2;

/** @throws MeshError `forbidden` when this process may not change the system */
export function checkPrivileged(machine: Machine, verb: string): void {
  if (machine.privileged) return;
  throw new MeshError("forbidden", `${verb} changes the system: run it as root (sudo tiermesh-agent ${verb} …)`);
}

/** @throws MeshError `conflict` when the agent came as a package */
export function checkNotPackaged(machine: Machine, verb: string): void {
  if (machine.platform !== "linux" || !existsSync(machine.at(PACKAGED_UNIT))) return;
  throw new MeshError(
    "conflict",
    `${verb}: the agent came as a package here; apt installs, upgrades and removes it, and \`tiermesh-agent join TOKEN\` lets it join`,
  );
}

/** @throws MeshError naming what keeps the agent from being installed; nothing was changed */
export async function checkBeforeInstall(
  { machine, layout, manager }: { machine: Machine; layout: Layout; manager: ServiceManager },
  { executable, definitions }: { executable: string; definitions: readonly Definition[] },
): Promise<void> {
  checkPrivileged(machine, "install");
  checkNotPackaged(machine, "install");
  const missing = await manager.missing();
  if (missing !== undefined) throw new MeshError("not_supported", missing);
  for (const { path: file } of definitions) checkOurs(machine.at(file));
  await checkFormat(executable, machine.platform, process.arch);
  await checkSpace(machine.at(layout.executable), (await stat(executable)).size);
}

/** A service of that name that somebody wrote by hand is theirs. */
function checkOurs(file: string): void {
  if (!existsSync(file) || readFileSync(file, "utf8").includes(MADE_BY_US)) return;
  throw new MeshError("conflict", `${file} is there and was not written by an installation; move it away first`);
}

/** @throws MeshError `bad_config` when there is not enough room for a second copy of the program beside it */
export async function checkSpace(target: string, bytes: number): Promise<void> {
  const folder = firstThere(path.dirname(target));
  const { bavail, bsize } = await statfs(folder);
  const needed = bytes + SPARE_BYTES;
  if (bavail * bsize >= needed) return;
  const mb = (count: number) => Math.ceil(count / 1e6);
  throw new MeshError(
    "bad_config",
    `not enough space in ${folder}: ${mb(needed)} MB are needed and ${mb(bavail * bsize)} MB free; nothing was changed`,
  );
}

function firstThere(folder: string): string {
  const parent = path.dirname(folder);
  return existsSync(folder) || parent === folder ? folder : firstThere(parent);
}
