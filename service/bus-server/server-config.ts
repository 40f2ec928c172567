import path from "node:path";
import { MeshError } from "../../bus-schemas/index.ts";
import { compareVersions, VERSION_FLOOR } from "./server-version.ts";
import type { StorageKey } from "./storage-key.ts";

/** Route to a server's neighbours, for a cluster. */
export interface ClusterOptions {
  /** The cluster's name, the same on every server. */
  name: string;
  /** This server's name, unique in the cluster. */
  serverName: string;
  /** Port that the other servers connect to. */
  port: number;
  /** Where all servers of the cluster listen for each other, `host:port`; our own may be among them. */
  routes: readonly string[];
  /** What clients are told of this server by the others, `host:port`; undefined = the addresses that it has. */
  advertise?: string | undefined;
}

/** Files of a server's certificate, all PEM. */
export interface TlsFiles {
  /** The server's certificate, then those of the authorities between it and `caFile`. */
  certFile: string;
  keyFile: string;
  /** The authority that the other servers of the cluster are checked by. */
  caFile: string;
}

/** How streams lie on the disk. */
export interface StorageOptions {
  /**
   * always: a message is on the disk before it is acknowledged, so that a power failure loses none (Jepsen found acknowledged
   * messages lost in NATS 2.12.1 with the server's default); interval: that default, every two minutes.
   */
  sync?: "always" | "interval" | undefined;
  /** Streams are encrypted with it; undefined = they lie in clear. */
  key?: StorageKey | undefined;
}

export interface ServerConfig extends StorageOptions {
  host: string;
  /** Client port; 0 = any free one. */
  port: number;
  /** Port of the HTTP monitoring endpoint; undefined = none, 0 = any free one. */
  monitorPort?: number | undefined;
  access: ServerAccess;
  /** Known to the servers of one cluster, who show it to each other. */
  routeSecret: { user: string; password: string };
  stateDir: string;
  cluster?: ClusterOptions | undefined;
  /** Clients and routes have to use TLS; undefined = all in clear. */
  tls?: TlsFiles | undefined;
  /** The server's version, `x.y.z`, for what not every server understands; unknown = the oldest that we run. */
  version?: string | undefined;
}

/** Who may connect: one user who may do everything, or the users of an accounts file (service/access). */
export type ServerAccess = { user: string; password: string } | { accountsFile: string };

/**
 * Largest message, bytes. The server's default of 1 MiB is too little for one prompt with an image or a long document in
 * it; 8 MiB is the most that the server takes without a warning (its documentation advises against more).
 */
export const MAX_PAYLOAD_BYTES = 8 * 1024 * 1024;

/** The first version that takes `min_version` in `tls`; those before accept TLS 1.2, and still agree on 1.3 with our clients. */
const MIN_TLS_SINCE = "2.11.0";

/** The first version that takes `sync_interval: always`. */
const SYNC_ALWAYS_SINCE = "2.10.0";

/** Seconds for a TLS handshake; the server's default of 2 is short when a whole fleet returns to a busy machine at once. */
const HANDSHAKE_LIMIT_S = 5;

/**
 * Told to leave its cluster, a server hands over what it leads, takes no new client for the grace, then sends its clients to
 * the others one by one, seconds. The duration is the least that the server takes; few clients are through much sooner.
 */
const LAME_DUCK = { graceS: 5, durationS: 30 };

/** Files of one bus in its state folder. */
export function busFiles(stateDir: string) {
  return {
    lock: path.join(stateDir, "bus.lock"),
    config: path.join(stateDir, "nats-server.conf"),
    /** Who may do what, beside the configuration, which includes it. */
    accounts: path.join(stateDir, "accounts.conf"),
    credentials: path.join(stateDir, "bus-credentials.json"),
    /** Written by the server itself. */
    pid: path.join(stateDir, "nats-server.pid"),
    /** Where the server writes its ports file. */
    ports: path.join(stateDir, "ports"),
    jetstream: path.join(stateDir, "jetstream"),
  };
}

/** The nats-server configuration file; understood from 2.9 on. */
export function renderConfig(config: ServerConfig): string {
  const files = busFiles(config.stateDir);
  const urlHost = config.host.includes(":") ? `[${config.host}]` : config.host;
  const lines = [
    "# Written at each start; changes here are lost.",
    `host: ${quoted(config.host)}`,
    // In the configuration 0 means the default port; -1 is any free one.
    `port: ${anyPort(config.port)}`,
    `max_payload: ${MAX_PAYLOAD_BYTES}`,
    `pid_file: ${quoted(files.pid)}`,
    `ports_file_dir: ${quoted(files.ports)}`,
    ...jetstreamBlock(config, files.jetstream),
    accessLine(config.access),
  ];
  const tls = config.tls === undefined ? [] : tlsBlock(config.tls, config.version);
  lines.push(...tls);
  if (config.monitorPort !== undefined) lines.push(`http: ${quoted(`${urlHost}:${anyPort(config.monitorPort)}`)}`);
  if (config.cluster !== undefined) {
    const { name, serverName, port, advertise } = config.cluster;
    const { user, password } = config.routeSecret;
    const secret = `${user}:${password}`;
    const routes = config.cluster.routes.map((other) => quoted(`nats://${secret}@${other}`));
    lines.push(
      `server_name: ${quoted(serverName)}`,
      `server_tags: [${quoted(serverTag(serverName))}]`,
      ...(advertise === undefined ? [] : [`client_advertise: ${quoted(advertise)}`]),
      `lame_duck_grace_period: "${LAME_DUCK.graceS}s"`,
      `lame_duck_duration: "${LAME_DUCK.durationS}s"`,
      `cluster {`,
      `  name: ${quoted(name)}`,
      `  listen: ${quoted(`${urlHost}:${port}`)}`,
      `  authorization { user: ${quoted(user)}, password: ${quoted(password)} }`,
      `  routes: [${routes.join(", ")}]`,
      // The server checks certificates on both ends of a route, whatever is written here.
      ...tls.map((line) => `  ${line}`),
      `}`,
    );
  }
  return `${lines.join("\n")}\n`;
}

/** Whether a server of that version can write each message to the disk before it acknowledges it. */
export function canSyncAlways(version: string): boolean {
  return compareVersions(version, SYNC_ALWAYS_SINCE) >= 0;
}

function jetstreamBlock({ key, sync, version = VERSION_FLOOR }: ServerConfig, folder: string): string[] {
  const always = canSyncAlways(version)
    ? "  sync_interval: always"
    : "  # from nats-server 2.10 on: sync_interval: always";
  return [
    "jetstream {",
    `  store_dir: ${quoted(folder)}`,
    ...(sync === "always" ? [always] : []),
    ...(key === undefined ? [] : ["  cipher: aes", `  key: ${quoted(key.key)}`]),
    ...(key?.former === undefined ? [] : [`  prev_key: ${quoted(key.former)}`]),
    "}",
  ];
}

function accessLine(access: ServerAccess): string {
  if ("accountsFile" in access) return `include ${quoted(`./${path.basename(access.accountsFile)}`)}`;
  return `authorization { user: ${quoted(access.user)}, password: ${quoted(access.password)} }`;
}

function tlsBlock({ certFile, keyFile, caFile }: TlsFiles, version = VERSION_FLOOR): string[] {
  return [
    "tls {",
    `  cert_file: ${quoted(certFile)}`,
    `  key_file: ${quoted(keyFile)}`,
    `  ca_file: ${quoted(caFile)}`,
    ...(compareVersions(version, MIN_TLS_SINCE) < 0 ? [] : ['  min_version: "1.3"']),
    `  timeout: ${HANDSHAKE_LIMIT_S}`,
    "}",
  ];
}

/** By it a stream can be placed on one server of a cluster. */
export function serverTag(serverName: string): string {
  return `server:${serverName}`;
}

function anyPort(port: number): number {
  return port === 0 ? -1 : port;
}

/** A double-quoted string of the configuration language; it knows the escapes \\ \" \n \t \r. */
function quoted(text: string): string {
  // eslint-disable-next-line no-control-regex -- exactly these cannot be written
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/.test(text)) {
    throw new MeshError("bad_config", "a path or name for the bus holds a control character");
  }
  return JSON.stringify(text);
}
