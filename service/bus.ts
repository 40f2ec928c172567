import {
  AuthorizationError,
  connect,
  nkeyAuthenticator,
  TimeoutError,
  type Msg,
  type NatsConnection,
  type ServerInfo,
  type Subscription,
} from "@nats-io/transport-node";
import { MeshError, TOOL_INBOX, subjects, type Subjects } from "../bus-schemas/index.ts";
import { readNkeyFile, type UserNkey } from "./access/nkey-file.ts";
import { MOVING_MARK, Mover } from "./bus-move.ts";
import { tlsOptions, tlsTrouble } from "./bus-tls.ts";
import { newId } from "./ids.ts";
import type { Log } from "./log.ts";
import { pause } from "./loop.ts";

export interface BusAddress {
  /** `nats://host:port`, or several separated by commas; with `tls://` they have to offer TLS. */
  url: string;
  /** File of the authority (PEM) that the bus is checked by; with it TLS is required. */
  caFile?: string | undefined;
  user?: string | undefined;
  password?: string | undefined;
  /** File with the seed of this process's own key, by which the broker knows its role; instead of a password. */
  nkeyFile?: string | undefined;
  /** The key itself, where it is in no file. */
  nkey?: UserNkey | undefined;
  /** Cell whose subjects this process speaks. */
  cell?: string;
}

export interface Bus {
  nc: NatsConnection;
  subjects: Subjects;
  /** Our own request inbox: a wildcard subject that no one else uses. */
  inbox: string;
  /**
   * Calls `handler` for each message on `subject`; `queue` shares them among a group. A handler that throws is logged and
   * the next message is served.
   */
  listen(subject: string, handler: (msg: Msg) => void, queue?: string): Subscription;
  /** False from the loss of the connection until it is back. */
  connected(): boolean;
  /** Sends what is buffered, finishes subscriptions, closes. */
  drain(): Promise<void>;
}

/**
 * Bytes that the library gathers within one turn before it writes them to the socket. It writes at the end of each turn
 * anyway, so nothing waits longer; its own 32 KiB cut the answers to one read of 64 KiB into ten writes and more.
 * nats-core 3.4.0 takes the option and does not declare it (protocol.js).
 */
const FLUSH = { pendingLimit: 256 * 1024 };

/** Pause between two attempts to reach the bus again: 100 ms, plus up to 400 ms so that a fleet does not return at once. */
const RECONNECT_MS = { wait: 100, jitter: 400 };
/** The same to a bus that refuses our key: it may be known again one day. */
const REFUSED_MS = { wait: 5000, jitter: 5000 };

/** Who is refused at a first login tries once more after this time, milliseconds: longer than a reload of accounts takes. */
const REDIAL_REFUSED_MS = 250;

/**
 * Connects to the bus and stays connected: it reconnects for ever. What is published while the connection is away is lost
 * (the library empties its buffer at each new dial; tried with nats-core 3.4.0): who needs it delivered sends it again.
 * @throws MeshError `bad_config` when the key file or the authority's file cannot be used.
 * @throws MeshError `bus_unavailable` when the first connection cannot be made within `timeoutMs`, `unauthorized` when the bus
 * does not know who we are; with `retry` neither: that is logged, and tried again.
 */
export async function connectBus(
  name: string,
  address: BusAddress,
  log: Log,
  options: { timeoutMs?: number; retry?: boolean; noEcho?: boolean } = {},
): Promise<Bus> {
  const { timeoutMs = 5000, retry = false, noEcho = false } = options;
  const tlsOf = () => tlsOptions(address, (line) => log.warn(line));
  const tls = tlsOf();
  const nkey = address.nkey ?? (address.nkeyFile === undefined ? undefined : readNkeyFile(address.nkeyFile));
  const inboxPrefix = nkey?.inbox ?? TOOL_INBOX;
  const watch = new Watch(log);
  const dial = (wait: boolean, security = tls, mark = "") =>
    connect({
      name: `tiermesh-${name}${mark}`,
      servers: address.url.split(","),
      ...(address.user === undefined ? {} : { user: address.user, pass: address.password ?? "" }),
      ...(nkey === undefined ? {} : { authenticator: nkeyAuthenticator(nkey.seed), inboxPrefix }),
      timeout: timeoutMs,
      maxReconnectAttempts: -1,
      waitOnFirstConnect: wait,
      reconnectDelayHandler: watch.redialMs,
      ...security,
      ignoreAuthErrorAbort: true,
      // A first connection that is not to be waited for tries each server once. The library would add those that it hears of
      // in a greeting to the ones that have just refused it, and never come to an end.
      ignoreClusterUpdates: !wait,
      noEcho,
      pingInterval: 5000,
      maxPingOut: 2,
      ...FLUSH,
    });
  const first = (security: typeof tls, mark = "") =>
    dial(false, security, mark).catch(async (cause: unknown) => {
      // nats-server cuts whom it finds in the middle of a login when it reads its accounts anew, or leaves him without an answer:
      // the second time counts.
      if (!(cause instanceof AuthorizationError) && !(cause instanceof TimeoutError)) throw cause;
      await pause(REDIAL_REFUSED_MS);
      return dial(false, security, mark);
    });
  let nc: NatsConnection;
  try {
    nc = await first(tls);
    hearOfServers(nc);
  } catch (cause) {
    const error = notConnected(address, cause);
    if (!retry) throw error;
    watch.refused = error.code === "unauthorized";
    log.warn(`${error.message}; trying again until it does`);
    nc = await dial(true);
  }
  const mover = new Mover(nc, () => first(tlsOf(), MOVING_MARK), log);
  void watch.follow(nc, () => mover.moving);
  const all = subjects(address.cell);
  return {
    nc,
    subjects: all,
    inbox: `${inboxPrefix}.${newId()}`,
    listen: (subject, handler, queue) => mover.listen(subject, handler, queue),
    connected: () => (watch.connected || mover.moving) && !nc.isClosed(),
    drain: async () => {
      await mover.close();
      if (!nc.isClosed()) await nc.drain();
    },
  };
}

/**
 * From now on the servers of the cluster are known: those that the greeting named, which the first dial passed over, and those
 * that join later. nats-core 3.4.0 reads its options at each greeting (protocol.js); a complete cluster sends no second one.
 */
function hearOfServers(nc: NatsConnection): void {
  const { options, servers, transport } = (nc as unknown as { protocol: Dialler }).protocol;
  options.ignoreClusterUpdates = false;
  if (nc.info !== undefined) servers.update(nc.info, transport.isEncrypted());
}

/** What of the library's inner parts that needs. */
interface Dialler {
  options: { ignoreClusterUpdates: boolean };
  servers: { update(info: ServerInfo, encrypted: boolean): unknown };
  transport: { isEncrypted(): boolean };
}

/** What becomes of a connection: tells people each change once, however often it is dialled in between. */
class Watch {
  connected = true;
  /** The bus does not know us. */
  refused = false;
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Time until the next dial, milliseconds: a bus that refuses us is not asked all the time. */
  readonly redialMs = (): number => {
    const { wait, jitter } = this.refused ? REFUSED_MS : RECONNECT_MS;
    return wait + jitter * Math.random();
  };

  /** @param moving the connection is away on purpose */
  async follow(nc: NatsConnection, moving: () => boolean): Promise<void> {
    for await (const status of nc.status()) {
      if (status.type === "disconnect") {
        if (this.connected && !moving()) this.#log.warn("the bus is gone; reconnecting");
        this.connected = false;
      } else if (status.type === "reconnect") {
        this.connected = true;
        this.refused = false;
        this.#log.info("the bus is back");
      } else if (status.type === "error") {
        if (!(status.error instanceof AuthorizationError)) this.#log.warn({ err: status.error }, "bus error");
        else if (!this.refused) this.#log.error(`the bus refuses this process: ${UNKNOWN_KEY}`);
        this.refused ||= status.error instanceof AuthorizationError;
      } else if (status.type === "slowConsumer") this.#log.warn("slow consumer: messages wait in this process");
    }
  }
}

const UNKNOWN_KEY = "its key or password is not known there, or was revoked";

function notConnected(address: BusAddress, cause: unknown): MeshError {
  const where = redactUrl(address.url);
  if (cause instanceof AuthorizationError)
    return new MeshError("unauthorized", `the bus at ${where} refuses this process: ${UNKNOWN_KEY}`, { cause });
  const why = tlsTrouble(cause, where, address) ?? `no bus answers at ${where}; is the mesh up? (tiermesh up)`;
  return new MeshError("bus_unavailable", why, { cause });
}

/** The URL without user and password, for messages to people. */
export function redactUrl(url: string): string {
  return url.replace(/\/\/[^@/]*@/g, "//");
}
