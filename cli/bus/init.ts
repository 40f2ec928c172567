import { existsSync } from "node:fs";
import { join } from "node:path";
import { busFiles, keptStorageKey, renderConfig, replaceFile } from "../../service/bus-server/index.ts";
import { keptCredentials } from "../../service/bus-server/credentials.ts";
import { busCertificates } from "./bus-certificates.ts";
import { writeBusSettings, type BusSettings } from "./bus-settings.ts";
import { BusUsers, KEY_NAMES } from "./bus-users.ts";
import { clusterOptions } from "./cluster.ts";

/** What `tiermesh bus init` made. */
export interface InitialisedBus {
  folder: string;
  config: string;
  accounts: string;
  /** File of each role's key. */
  keys: Record<string, string>;
  /** Authority of the certificates; null where the bus speaks in clear. */
  ca_file: string | null;
  /** The folder was a bus before: keys and nodes are as they were. */
  existed: boolean;
}

/**
 * Writes all that a bus needs into its folder: settings, a key for each role, certificates, and the nats-server configuration.
 * What is there stays: keys are never replaced.
 * @throws MeshError `bad_config` naming a file that cannot be used
 */
export async function initBus(
  folder: string,
  settings: BusSettings,
  say: (line: string) => void,
): Promise<InitialisedBus> {
  const files = busFiles(folder);
  const existed = existsSync(join(folder, "keys"));
  await writeBusSettings(folder, settings);
  const users = new BusUsers(folder, settings.cell, [], settings.duties);
  const certificates = await busCertificates(folder, settings, say);
  await replaceFile(files.accounts, users.render(users.lastEntries(), Date.now()));
  // Without a version: what the oldest server that we run understands.
  const { host, port, sync } = settings;
  const key = settings.encrypt ? keptStorageKey(folder) : undefined;
  const access = { accountsFile: files.accounts };
  const routeSecret = await keptCredentials(files.credentials);
  const cluster = settings.cluster === undefined ? undefined : clusterOptions(settings.cluster, port);
  const tls = certificates?.files;
  const storage = { sync, key };
  await replaceFile(
    files.config,
    renderConfig({ host, port, stateDir: folder, access, routeSecret, cluster, tls, ...storage }),
  );
  const names = KEY_NAMES.filter((name) => existsSync(users.keyFile(name)));
  return {
    folder,
    config: files.config,
    accounts: files.accounts,
    keys: Object.fromEntries(names.map((name) => [name, users.keyFile(name)])),
    ca_file: certificates?.files.caFile ?? null,
    existed,
  };
}
