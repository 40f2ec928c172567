import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { MeshError, SubjectToken } from "../../bus-schemas/index.ts";
import type { BusAddress } from "../../service/bus.ts";
import { busFolder, localUrl, readBusSettings, speaksTls } from "./bus-settings.ts";
import type { KeyName } from "./bus-users.ts";

/**
 * What a host needs to run a part of a mesh whose bus is elsewhere: the folder `access` of its state folder, with this file,
 * the key of each role that runs here (`router.nk`) and the authority of the bus's certificates (`ca.pem`).
 */
const AccessFile = z.strictObject({
  v: z.literal(1),
  /** All servers of the bus. */
  urls: z.array(z.string().min(1).max(300)).min(1).max(16),
  cell: SubjectToken,
});
export type AccessFile = z.infer<typeof AccessFile>;

export const ACCESS_FILE = "access.json";

/**
 * How a process of a role on this machine reaches the bus: by the folder `access`, else by the bus whose keys are here.
 * Undefined when there is neither.
 * @throws MeshError `bad_config` naming a file that cannot be used
 */
export function accessOf(role: KeyName, stateDir: string): BusAddress | undefined {
  return byAccessFolder(role, join(stateDir, "access")) ?? byBusFolder(role, busFolder(stateDir));
}

function byAccessFolder(role: KeyName, folder: string): BusAddress | undefined {
  const nkeyFile = join(folder, `${role}.nk`);
  if (!existsSync(nkeyFile)) return undefined;
  const file = join(folder, ACCESS_FILE);
  let parsed: AccessFile;
  try {
    parsed = AccessFile.parse(JSON.parse(readFileSync(file, "utf8")));
  } catch (cause) {
    throw new MeshError("bad_config", `${file}: cannot be read, or is not what tiermesh bus init --out writes`, {
      cause,
    });
  }
  const caFile = join(folder, "ca.pem");
  const { cell, urls } = parsed;
  return { url: urls.join(","), nkeyFile, caFile: existsSync(caFile) ? caFile : undefined, cell };
}

function byBusFolder(role: KeyName, folder: string): BusAddress | undefined {
  const nkeyFile = join(folder, "keys", `${role}.nk`);
  if (!existsSync(nkeyFile)) return undefined;
  const settings = readBusSettings(folder);
  const caFile = speaksTls(settings) ? (settings.ca_file ?? join(folder, "tls", "ca.pem")) : undefined;
  return { url: localUrl(settings, settings.port), nkeyFile, caFile, cell: settings.cell };
}
