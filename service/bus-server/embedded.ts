import { mkdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import path from "node:path";
import { MeshError } from "../../bus-schemas/index.ts";
import { keptCredentials } from "./credentials.ts";
import { type FileLock, type LockHolder, tryLock } from "../file-lock.ts";
import { type GuardedServer, type ServerExit, startGuarded } from "./guard.ts";
import { endLeftover } from "./leftover.ts";
import { describeHolder, type PortHolder, whoHoldsPort } from "./port-holder.ts";
import { infoOf, portsOf, type ServerPorts } from "./ready.ts";
import { ReloadWatch, replaceFile } from "./reload.ts";
import { busFiles, type ClusterOptions, renderConfig, type StorageOptions, type TlsFiles } from "./server-config.ts";
import { readServerVersion } from "./server-version.ts";

export interface EmbeddedBusOptions extends StorageOptions {
  /** Path of the nats-server, from obtainNatsServer. */
  binary: string;
  /** Folder of this bus alone; made (mode 0700) if it is not there. Data, credentials and lock live in it. */
  stateDir: string;
  /** Address to listen on; loopback unless told otherwise. */
  host?: string;
  /** Client port; 0 = any free one. */
  port?: number;
  /** HTTP monitoring port; undefined = none, 0 = any free one. */
  monitorPort?: number | undefined;
  cluster?: ClusterOptions | undefined;
  /** Text of the accounts file at this start; without it one user with a password may do everything. */
  accounts?: string | undefined;
  /** Certificate files, which clients and routes then have to use. */
  tls?: TlsFiles | undefined;
  /** The server's log, line by line; it holds neither credentials nor messages. */
  onLog?: (line: string) => void;
  /** How long the server may take until it answers, milliseconds; a large JetStream store takes time to recover. */
  readyTimeoutMs?: number;
  /** Gives up the start, and stops the bus once started. */
  signal?: AbortSignal | undefined;
}

export interface EmbeddedBus {
  /** `nats://host:port`, with TLS `tls://host:port`, without credentials. */
  url: string;
  /** The one user, where there are no accounts. */
  user: string;
  password: string;
  host: string;
  port: number;
  /** `http://host:port` of the monitoring endpoint, if one was asked for. */
  monitorUrl: string | undefined;
  /** The nats-server's process id. */
  pid: number;
  /** The guardian's process id; see guardian.ts. */
  guardianPid: number;
  /** The server's version, as it greets. */
  version: string;
  /** Resolves, never rejects, once the server is gone, its port free and its folder unlocked, so that it can be started anew. */
  exited: Promise<ServerExit>;
  /**
   * Takes another accounts file into use: connections of users that are not in it are cut before this resolves.
   * @throws MeshError `bus_unavailable` when the server does not take it; the former file stays in use.
   */
  setAccounts(text: string): Promise<void>;
  /** Stops the server in order; safe to call twice. */
  stop(): Promise<void>;
  /** Stops a server of a cluster so that nobody has to wait for it: its clients go to the others first. */
  leave(): Promise<void>;
}

/** The port is taken; `holder` is who has it, where that can be told. */
export class PortHeldError extends MeshError {
  readonly port: number;
  readonly holder: PortHolder | undefined;

  constructor(port: number, holder: PortHolder | undefined) {
    super("bus_unavailable", `port ${port} is held by ${describeHolder(holder)}; stop it or choose another port`);
    this.port = port;
    this.holder = holder;
  }
}

/** Another process runs a bus on this folder. */
export class BusFolderHeldError extends MeshError {
  readonly stateDir: string;
  readonly holder: LockHolder;

  constructor(stateDir: string, holder: LockHolder) {
    super(
      "bus_unavailable",
      `process ${holder.pid} already runs the bus of ${stateDir}; stop it or choose another folder`,
    );
    this.stateDir = stateDir;
    this.holder = holder;
  }
}

/** Time for a leftover server to end by itself before it is killed, milliseconds. */
const LEFTOVER_GRACE_MS = 3000;

/** Log lines kept to explain a failed start. */
const TAIL_LINES = 5;

/**
 * Starts a nats-server with JetStream as a child of this process, which it never outlives (guardian.ts). Credentials and
 * data are kept in `stateDir`, so a restart goes on where the last run ended.
 * @throws BusFolderHeldError when another process runs a bus on this folder.
 * @throws PortHeldError when a port is taken.
 * @throws MeshError `bad_config` when the folder cannot be used.
 * @throws MeshError `bus_unavailable` when the server does not come up; the message ends with its last log lines.
 */
export async function startEmbeddedBus(options: EmbeddedBusOptions): Promise<EmbeddedBus> {
  const { signal } = options;
  const stateDir = path.resolve(options.stateDir);
  signal?.throwIfAborted();
  const lock = await lockFolder(stateDir, signal);
  try {
    return await startLocked({ ...options, stateDir }, lock);
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function lockFolder(stateDir: string, signal?: AbortSignal): Promise<FileLock> {
  let lock: Awaited<ReturnType<typeof tryLock>>;
  try {
    await mkdir(stateDir, { recursive: true, mode: 0o700 });
    lock = await tryLock(busFiles(stateDir).lock, signal);
  } catch (error) {
    signal?.throwIfAborted();
    const why = (error as NodeJS.ErrnoException).code ?? "unknown reason";
    throw new MeshError("bad_config", `the bus's folder ${stateDir} cannot be used (${why})`, { cause: error });
  }
  if ("heldBy" in lock) throw new BusFolderHeldError(stateDir, lock.heldBy);
  return lock;
}

async function startLocked(options: EmbeddedBusOptions, lock: FileLock): Promise<EmbeddedBus> {
  const {
    binary,
    stateDir,
    host = "127.0.0.1",
    port = 0,
    monitorPort,
    cluster,
    accounts,
    tls,
    sync,
    key,
    onLog = () => {},
    readyTimeoutMs = 30_000,
    signal,
  } = options;
  const files = busFiles(stateDir);
  await endLeftover(files.pid, files.config, LEFTOVER_GRACE_MS, signal);
  await rm(files.ports, { recursive: true, force: true });
  await mkdir(files.ports, { recursive: true });
  const credentials = await keptCredentials(files.credentials);
  // Removed first: the mode counts only for a new file.
  await rm(files.config, { force: true });
  if (accounts !== undefined) await replaceFile(files.accounts, accounts);
  const access = accounts === undefined ? credentials : { accountsFile: files.accounts };
  const config = renderConfig({
    host,
    port,
    monitorPort,
    stateDir,
    cluster,
    tls,
    sync,
    key,
    access,
    routeSecret: credentials,
    version: tls === undefined && sync !== "always" ? undefined : await readServerVersion(binary, signal),
  });
  await writeFile(files.config, config, { mode: 0o600 });
  const wanted = [port, monitorPort ?? 0, cluster?.port ?? 0].filter((each) => each !== 0);
  await refuseHeldPorts(host, wanted);

  const tail: string[] = [];
  const reloads = new ReloadWatch();
  const server = await startGuarded(binary, ["-c", files.config], (line) => {
    reloads.onLog(line);
    tail.push(line);
    if (tail.length > TAIL_LINES) tail.shift();
    onLog(line);
  });
  const exited = server.exited.then(async (exit) => {
    await lock.release();
    return exit;
  });
  try {
    const { ports, url, version: greeted } = await whenReady(server, files.ports, readyTimeoutMs, signal);
    const stop = async () => {
      await server.stop();
      await exited;
    };
    const abort = () => void stop();
    signal?.addEventListener("abort", abort, { once: true });
    void exited.then(() => signal?.removeEventListener("abort", abort));
    return {
      url: url.href.replace(/\/$/, ""),
      ...credentials,
      host,
      port: Number(url.port),
      monitorUrl: ports.monitoring?.[0],
      pid: server.pid,
      guardianPid: server.guardianPid,
      version: greeted,
      exited,
      setAccounts: (text) => reloads.reload(server, () => replaceFile(files.accounts, text)),
      stop,
      leave: async () => {
        await server.leave();
        await exited;
      },
    };
  } catch (error) {
    await server.stop();
    await exited;
    signal?.throwIfAborted();
    // Someone may have taken a port between our look and the server's.
    await refuseHeldPorts(host, wanted);
    const why = error instanceof MeshError ? error.message : "nats-server did not come up";
    throw new MeshError("bus_unavailable", [why, ...tail].join("\n  "), { cause: error });
  }
}

async function whenReady(
  server: GuardedServer,
  portsFolder: string,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<{ ports: ServerPorts; url: URL; version: string }> {
  const giveUp = new AbortController();
  const timer = setTimeout(
    () =>
      giveUp.abort(
        new MeshError("bus_unavailable", `nats-server did not answer within ${Math.round(timeoutMs / 1000)} s`),
      ),
    timeoutMs,
  );
  const either = signal === undefined ? giveUp.signal : AbortSignal.any([giveUp.signal, signal]);
  void server.exited.then(({ code, signal: by }) =>
    giveUp.abort(new MeshError("bus_unavailable", `nats-server ended at once (${by ?? `exit code ${code}`})`)),
  );
  try {
    const ports = await portsOf(portsFolder, server.pid, either);
    const url = new URL(ports.nats?.[0] ?? "");
    const { version } = await infoOf(url.hostname.replace(/^\[|\]$/g, ""), Number(url.port), either);
    return { ports, url, version };
  } finally {
    clearTimeout(timer);
  }
}

async function refuseHeldPorts(host: string, ports: readonly number[]): Promise<void> {
  for (const port of ports) {
    if (!(await canListen(host, port))) throw new PortHeldError(port, await whoHoldsPort(port));
  }
}

function canListen(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.on("error", () => resolve(false));
    probe.listen({ host, port, exclusive: true }, () => probe.close(() => resolve(true)));
  });
}
