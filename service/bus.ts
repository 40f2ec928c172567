import { connect, type Msg, type NatsConnection, type Subscription } from "@nats-io/transport-node";
import { MeshError, subjects, type Subjects } from "../bus-schemas/index.ts";
import { tlsOptions, tlsTrouble } from "./bus-tls.ts";
import { newId } from "./ids.ts";
import type { Log } from "./log.ts";

export interface BusAddress {
  /** `nats://host:port`, or several separated by commas; with `tls://` they have to offer TLS. */
  url: string;
  /** File of the authority (PEM) that the bus is checked by; with it TLS is required. */
  caFile?: string | undefined;
  user?: string | undefined;
  password?: string | undefined;
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

/**
 * Connects to the bus and stays connected: it reconnects for ever. What is published while the connection is away is lost
 * (the library empties its buffer at each new dial; tried with nats-core 3.4.0): who needs it delivered sends it again.
 * @throws MeshError `bus_unavailable` when the first connection cannot be made within `timeoutMs` and `retry` is not set.
 * @throws MeshError `bad_config` when the authority's file cannot be used.
 */
export async function connectBus(
  name: string,
  address: BusAddress,
  log: Log,
  options: { timeoutMs?: number; retry?: boolean; noEcho?: boolean } = {},
): Promise<Bus> {
  const { timeoutMs = 5000, retry = false, noEcho = false } = options;
  const tls = tlsOptions(address, (line) => log.warn(line));
  let nc: NatsConnection;
  try {
    nc = await connect({
      name: `tiermesh-${name}`,
      servers: address.url.split(","),
      ...(address.user === undefined ? {} : { user: address.user, pass: address.password ?? "" }),
      timeout: timeoutMs,
      maxReconnectAttempts: -1,
      waitOnFirstConnect: retry,
      reconnectTimeWait: RECONNECT_MS.wait,
      reconnectJitter: RECONNECT_MS.jitter,
      reconnectJitterTLS: RECONNECT_MS.jitter,
      ...tls,
      ignoreAuthErrorAbort: true,
      noEcho,
      pingInterval: 5000,
      maxPingOut: 2,
      ...FLUSH,
    });
  } catch (error) {
    const where = redactUrl(address.url);
    throw new MeshError(
      "bus_unavailable",
      tlsTrouble(error, where, address) ?? `no bus answers at ${where}; is the mesh up? (tiermesh up)`,
      { cause: error },
    );
  }
  let connected = true;
  void watch(nc, log, (now) => (connected = now));
  const all = subjects(address.cell);
  return {
    nc,
    subjects: all,
    inbox: `_INBOX.${newId()}`,
    listen: (subject, handler, queue) =>
      nc.subscribe(subject, {
        ...(queue === undefined ? {} : { queue }),
        callback: (error, msg) => {
          if (error !== null) return log.error({ err: error, subject }, "the bus refuses a subscription");
          try {
            handler(msg);
          } catch (cause) {
            log.error({ err: cause, subject }, "a message could not be handled");
          }
        },
      }),
    connected: () => connected && !nc.isClosed(),
    drain: async () => {
      if (!nc.isClosed()) await nc.drain();
    },
  };
}

async function watch(nc: NatsConnection, log: Log, setConnected: (connected: boolean) => void): Promise<void> {
  for await (const status of nc.status()) {
    if (status.type === "disconnect") {
      setConnected(false);
      log.warn("the bus is gone; reconnecting");
    } else if (status.type === "reconnect") {
      setConnected(true);
      log.info("the bus is back");
    } else if (status.type === "error") log.warn({ err: status.error }, "bus error");
    else if (status.type === "slowConsumer") log.warn("slow consumer: messages wait in this process");
  }
}

/** The URL without user and password, for messages to people. */
export function redactUrl(url: string): string {
  return url.replace(/\/\/[^@/]*@/g, "//");
}
