import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync, chmodSync, statSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import { busFiles } from "../../service/bus-server/index.ts";
import { keptCredentials } from "../../service/bus-server/credentials.ts";
import { ensureCertificates } from "../../service/certificates/index.ts";
import { ACCESS_FILE, type AccessFile } from "./access.ts";
import { bundleReadme, serverReadme } from "./bundle-readme.ts";
import { certificateHosts, joinUrls, speaksTls, writeBusSettings, type BusSettings } from "./bus-settings.ts";
import { BusUsers, KEY_NAMES, type KeyName } from "./bus-users.ts";
import type { ClusterSettings } from "./cluster.ts";

/** A bus's settings as one server of a cluster. */
export type ClusteredSettings = BusSettings & { cluster: ClusterSettings };

export interface Bundle {
  folder: string;
  /** Each to be copied to one server. */
  servers: string[];
  /** Each to be copied where that role runs. */
  access: string[];
  /** All secrets; belongs to nobody's machine but the operator's. */
  keep: string;
  /** Keys were there before, and stayed. */
  existed: boolean;
}

/** What a bus that exists brings into its cluster. */
const TAKEN_OVER = ["bus-credentials.json", "nodes.json", join("tls", "ca.pem"), join("tls", "ca.key")];

/**
 * Makes what each server of a cluster needs, ready to be copied: settings, certificate, route secret, its keeper's key, and of
 * the other keys the public half. Keys, authority and secret are made once and stay in `keep`: a bundle made anew, for one
 * server more or for new certificates, fits the one before.
 * @param settings as of any server of the cluster; without `listen` each listens on its own address
 * @param from folder of a bus that is to grow into this cluster as the server of `settings`: its keys, authority and nodes
 * stay what they are
 * @throws MeshError `bad_config` naming a file that cannot be used
 */
export async function makeBundle(
  out: string,
  settings: ClusteredSettings,
  { from, listen }: { from?: string | undefined; listen?: string | undefined },
): Promise<Bundle> {
  const keep = join(out, "keep");
  const existed = existsSync(join(keep, "keys"));
  mkdirSync(join(keep, "keys"), { recursive: true, mode: 0o700 });
  if (from !== undefined && !existed) takeOver(from, keep);
  const users = new BusUsers(keep, settings.cell, [], settings.duties);
  await keptCredentials(busFiles(keep).credentials);
  const ours = speaksTls(settings) && settings.tls !== "given";
  if (ours) await ensureCertificates(join(keep, "tls"), ["localhost"], Date.now());
  const first = from === undefined ? {} : { first: settings.cluster.server };
  const bundle: Bundle = { folder: out, keep, existed, servers: [], access: [] };
  for (const server of settings.cluster.servers) {
    const home = join(out, server.name);
    // A name may stand for any of a machine's addresses.
    const host = listen ?? (isIP(server.host) === 0 ? "0.0.0.0" : server.host);
    const own = { ...settings, host, cluster: { ...settings.cluster, ...first, server: server.name } };
    await writeServer(join(home, "bus"), own, users, keep, ours);
    writeFileSync(join(home, "README.md"), serverReadme(own));
    bundle.servers.push(home);
  }
  for (const name of KEY_NAMES) {
    if (name === "keeper") continue;
    bundle.access.push(writeAccess(join(out, "access", name), name, settings, users, keep, ours));
  }
  writeFileSync(join(out, "README.md"), bundleReadme(settings));
  ownersOnly(out);
  return bundle;
}

async function writeServer(
  folder: string,
  settings: ClusteredSettings,
  users: BusUsers,
  keep: string,
  ours: boolean,
): Promise<void> {
  const keys = join(folder, "keys");
  mkdirSync(keys, { recursive: true, mode: 0o700 });
  await writeBusSettings(folder, settings);
  copyFileSync(users.keyFile("keeper"), join(keys, "keeper.nk"));
  for (const name of KEY_NAMES)
    if (name !== "keeper") writeFileSync(join(keys, `${name}.pub`), `${users.publicKey(name)}\n`);
  copyFileSync(busFiles(keep).credentials, busFiles(folder).credentials);
  const nodes = join(keep, "nodes.json");
  if (existsSync(nodes)) copyFileSync(nodes, join(folder, "nodes.json"));
  if (!ours) return;
  const tls = join(folder, "tls");
  mkdirSync(tls, { recursive: true, mode: 0o700 });
  for (const file of ["ca.pem", "ca.key"]) copyFileSync(join(keep, "tls", file), join(tls, file));
  await ensureCertificates(tls, certificateHosts(settings), Date.now());
  // Who has it can pass for any server.
  rmSync(join(tls, "ca.key"));
}

function writeAccess(
  folder: string,
  name: KeyName,
  settings: ClusteredSettings,
  users: BusUsers,
  keep: string,
  ours: boolean,
): string {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const access: AccessFile = { v: 1, urls: joinUrls(settings, settings.port), cell: settings.cell };
  writeFileSync(join(folder, ACCESS_FILE), `${JSON.stringify(access, null, 2)}\n`);
  copyFileSync(users.keyFile(name), join(folder, `${name}.nk`));
  const ca = ours ? join(keep, "tls", "ca.pem") : settings.ca_file;
  if (speaksTls(settings) && ca !== undefined) copyFileSync(ca, join(folder, "ca.pem"));
  return folder;
}

function takeOver(from: string, keep: string): void {
  mkdirSync(join(keep, "tls"), { recursive: true, mode: 0o700 });
  for (const name of KEY_NAMES) {
    const key = join("keys", `${name}.nk`);
    if (existsSync(join(from, key))) copyFileSync(join(from, key), join(keep, key));
  }
  for (const file of TAKEN_OVER) if (existsSync(join(from, file))) copyFileSync(join(from, file), join(keep, file));
}

/** Everything readable by its owner only, whatever the files were copied from. */
function ownersOnly(folder: string): void {
  chmodSync(folder, 0o700);
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) ownersOnly(path);
    else chmodSync(path, 0o600);
  }
}
