import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { hostname, networkInterfaces } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { MeshError, SubjectToken, fieldPath } from "../../bus-schemas/index.ts";
import { replaceFile } from "../../service/bus-server/index.ts";
import { ClusterSettings, inUrl, ownServer } from "./cluster.ts";

/** How the bus of a folder is run: `tiermesh bus init` writes it, `up` and `bus run` read it, their flags win. */
export const BusSettings = z.strictObject({
  /** Address to listen on; 0.0.0.0 is all of this machine's. */
  host: z.string().min(1).max(253).default("127.0.0.1"),
  port: z.number().int().min(0).max(65_535).default(4222),
  cell: SubjectToken.default("main"),
  /** Addresses that other machines join by; none = those of this machine that it listens on. */
  urls: z
    .array(z.string().regex(/^(nats|tls):\/\/[^\s/@]{1,280}$/, "nats://host:port or tls://host:port"))
    .max(16)
    .default([]),
  /** auto = generated certificates unless it listens on loopback only. */
  tls: z.enum(["auto", "off", "generated", "given"]).default("auto"),
  /** Of `given`: PEM files. */
  cert_file: z.string().optional(),
  key_file: z.string().optional(),
  ca_file: z.string().optional(),
  /** always = each message is on the disk before it is acknowledged; what `bus init` writes. interval = every two minutes. */
  sync: z.enum(["always", "interval"]).default("interval"),
  /** Streams are encrypted on the disk, by a key in the bus's folder. */
  encrypt: z.boolean().default(false),
  /** separate = operators change neither the policy nor who may join, and do not read the record: others have keys for that. */
  duties: z.enum(["one", "separate"]).default("one"),
  /** One server of several. */
  cluster: ClusterSettings.optional(),
});
export type BusSettings = z.infer<typeof BusSettings>;

/** Names and addresses that every certificate has, so that this machine's own processes find their bus. */
const LOCAL_NAMES = ["localhost", "127.0.0.1", "::1"];

/** Where the bus of a state folder is. */
export function busFolder(stateDir: string): string {
  return join(stateDir, "bus");
}

/** Whether a folder has settings of its own. */
export function hasBusSettings(folder: string): boolean {
  return existsSync(settingsFile(folder));
}

/** The settings of a folder, or the usual ones. @throws MeshError `bad_config` naming file and field */
export function readBusSettings(folder: string): BusSettings {
  const file = settingsFile(folder);
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    return BusSettings.parse({});
  }
  return checkBusSettings(parseJson(text, file), file);
}

/** @throws MeshError `bad_config` naming `origin` and the field */
export function checkBusSettings(value: unknown, origin: string): BusSettings {
  const result = BusSettings.safeParse(value);
  const issue = result.error?.issues[0];
  const settings = result.data;
  if (settings === undefined) {
    const field = fieldPath(issue?.path ?? []);
    throw new MeshError("bad_config", `${origin}: ${field}: ${issue?.message ?? "not valid"}`, { field });
  }
  for (const field of ["cert_file", "key_file", "ca_file"] as const)
    if ((settings.tls === "given") !== (settings[field] !== undefined))
      throw new MeshError("bad_config", `${origin}: ${field}: goes with tls "given", all three of them`, { field });
  return settings;
}

export async function writeBusSettings(folder: string, settings: BusSettings): Promise<void> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  await replaceFile(settingsFile(folder), `${JSON.stringify(settings, null, 2)}\n`);
}

/** Whether the bus speaks TLS, to clients and to the other servers of its cluster. */
export function speaksTls({ cluster, host, tls }: BusSettings): boolean {
  const hosts = [host, ...(cluster?.servers.map((server) => server.host) ?? [])];
  return tls === "auto" ? !hosts.every(isLoopback) : tls !== "off";
}

/** Names and addresses for the bus's certificate. */
export function certificateHosts({ cluster, host, urls }: BusSettings): string[] {
  const named = urls.map((url) => new URL(url).hostname.replace(/^\[|\]$/g, ""));
  // Nothing of the machine on which this runs: the certificates of a cluster are made in one place.
  if (cluster !== undefined) return [...new Set([...LOCAL_NAMES, ownServer(cluster).host, ...named])];
  const own = isWildcard(host) ? [hostname(), ...outsideAddresses()] : isLoopback(host) ? [] : [hostname(), host];
  return [...new Set([...LOCAL_NAMES, ...own, ...named])];
}

/** Addresses that a join token names. @param port as the server got it */
export function joinUrls(settings: BusSettings, port: number): string[] {
  const { cluster, urls } = settings;
  if (urls.length > 0) return urls;
  const own = isWildcard(settings.host) ? outsideAddresses() : [settings.host];
  const hosts = cluster?.servers.map(({ host }) => host) ?? own;
  const scheme = speaksTls(settings) ? "tls" : "nats";
  return (hosts.length === 0 ? ["127.0.0.1"] : hosts).map((host) => `${scheme}://${inUrl(host)}:${port}`);
}

/** How this machine's own processes reach its server. */
export function localUrl(settings: BusSettings, port: number): string {
  const host = isWildcard(settings.host) ? "127.0.0.1" : settings.host;
  return `${speaksTls(settings) ? "tls" : "nats"}://${inUrl(host)}:${port}`;
}

export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host.startsWith("127.");
}

function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}

function outsideAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((addresses = []) =>
    addresses.filter(({ family, internal }) => family === "IPv4" && !internal).map(({ address }) => address),
  );
}

function settingsFile(folder: string): string {
  return join(folder, "bus.json");
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new MeshError("bad_config", `${file}: is not JSON; \`tiermesh bus init\` writes it anew`, { cause });
  }
}
