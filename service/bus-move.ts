/**
 * A server that is about to stop says so to its clients some seconds before (lame duck mode). A client library then waits to be
 * cut and comes back elsewhere, and what is said in between is lost. We move first, by a second connection to another server:
 *
 * 1. The second hears what the first hears; what comes there is kept. When everything that was under way to the first has been
 *    read, what the second has heard beyond that is delivered: nothing is lost, nothing comes twice, and order is kept.
 * 2. Meanwhile we speak by the second; the first goes to another server and comes back, and takes over again in the same way.
 */
import type { Msg, NatsConnection, PublishOptions, Subscription } from "@nats-io/nats-core";
import type { Log } from "./log.ts";
import { pause } from "./loop.ts";
import { within } from "./within.ts";

/** A whole fleet is not to move in one moment, milliseconds; well within the servers' grace (bus-server/server-config.ts). */
const SPREAD_MS = 1500;
/** Until all servers of the cluster know of a new subscription, and have what another of them had before, milliseconds. */
const SETTLE_MS = 150;
/** Between the last word by one connection and the first by another: what was said first arrives first, milliseconds. */
const HOLD_MS = 100;
/** A connection that does not answer within this time will not any more, milliseconds. */
const FLUSH_LIMIT_MS = 1000;
/** The first connection is back within this time, milliseconds; until then the second does its work. */
const RETURN_LIMIT_MS = 20_000;
/** Answers to what came by the second connection may still be sent by it for this long, milliseconds. */
const LINGER_MS = 10_000;

/**
 * What the name of a second connection ends with, in the broker's list and in its advisories: that one is closed again is no
 * sign of anybody's death, whatever else its hearer knows of the client.
 */
export const MOVING_MARK = " (moving)";

interface Listener {
  subject: string;
  queue: string | undefined;
  handler: (msg: Msg) => void;
}

type Which = "first" | "second";

/** Both connections hear the same: `from` is believed, and what `to` hears is kept until `from` has said all it has. */
interface Overlap {
  from: Which;
  /** Listener and message → how often `from` has heard it. */
  heard: Map<string, number>;
  kept: { listener: Listener; msg: Msg }[];
}

export class Mover {
  readonly #nc: NatsConnection;
  readonly #dial: () => Promise<NatsConnection>;
  readonly #log: Log;
  readonly #listeners = new Map<Subscription, Listener>();
  readonly #names = new WeakMap<Listener, number>();
  readonly #publish: NatsConnection["publish"];
  readonly #request: NatsConnection["request"];
  #overlap: Overlap | undefined;
  /** While a move is on: when the first connection has come back. */
  #back: PromiseWithResolvers<void> | undefined;
  /** While it does the work of the first. */
  #second: NatsConnection | undefined;
  #held: Parameters<NatsConnection["publish"]>[] | undefined;
  #count = 0;

  /** @param dial makes the second connection, to any server that takes new clients */
  constructor(nc: NatsConnection, dial: () => Promise<NatsConnection>, log: Log) {
    this.#nc = nc;
    this.#dial = dial;
    this.#log = log;
    this.#publish = nc.publish.bind(nc);
    this.#request = nc.request.bind(nc);
    nc.publish = (subject: string, data?: Parameters<typeof nc.publish>[1], options?: PublishOptions) =>
      this.#say([subject, data, options]);
    nc.request = (...args) => (this.#second === undefined ? this.#request(...args) : this.#second.request(...args));
    void this.#watch();
  }

  /** True while another connection does the work of the first, whatever becomes of that. */
  get moving(): boolean {
    return this.#second !== undefined;
  }

  listen(subject: string, handler: (msg: Msg) => void, queue: string | undefined): Subscription {
    const listener: Listener = { subject, queue, handler };
    this.#names.set(listener, ++this.#count);
    const subscription = this.#subscribe(this.#nc, listener, "first");
    this.#listeners.set(subscription, listener);
    void subscription.closed.then(() => this.#listeners.delete(subscription));
    return subscription;
  }

  async close(): Promise<void> {
    const second = this.#second;
    this.#second = undefined;
    await second?.close();
  }

  async #watch(): Promise<void> {
    for await (const { type } of this.#nc.status()) {
      if (type === "reconnect") this.#back?.resolve();
      if (type !== "ldm" || this.#back !== undefined || this.#nc.isDraining()) continue;
      this.#back = Promise.withResolvers();
      void this.#move(this.#back.promise)
        .catch((error: unknown) => this.#log.error({ err: error }, "moving to another server failed"))
        .finally(() => (this.#back = undefined));
    }
  }

  async #move(back: Promise<void>): Promise<void> {
    await pause(Math.random() * SPREAD_MS);
    let second: NatsConnection;
    try {
      second = await this.#dial();
    } catch (error) {
      // A bus of one server; it is dialled again when it is back.
      return this.#log.info({ err: error }, "no other server to move to");
    }
    if (this.#nc.isClosed() || this.#nc.isDraining()) return second.close();
    this.#log.info({ to: second.getServer() }, "this server is stopping: moving to another");
    const leaveSecond = await this.#toSecond(second);
    // Unless it was cut and is back already.
    await this.#nc.reconnect();
    await within(back, RETURN_LIMIT_MS);
    await this.#toFirst(second, leaveSecond);
    setTimeout(() => void second.close(), LINGER_MS).unref();
  }

  /** @returns what ends the second's subscriptions */
  async #toSecond(second: NatsConnection): Promise<() => void> {
    this.#overlap = { from: "first", heard: new Map(), kept: [] };
    // What the first has heard already may be on its way to the other server yet: it must be known when it comes there.
    await pause(SETTLE_MS);
    const subscriptions = Array.from(this.#listeners.values(), (listener) =>
      this.#subscribe(second, listener, "second"),
    );
    await flushed(second);
    await pause(SETTLE_MS);
    this.#held = [];
    await flushed(this.#nc);
    await pause(HOLD_MS);
    this.#second = second;
    this.#release();
    this.#deliverKept({ from: "second", heard: new Map(), kept: [] });
    return () => {
      for (const subscription of subscriptions) subscription.unsubscribe();
    };
  }

  async #toFirst(second: NatsConnection, leaveSecond: () => void): Promise<void> {
    await flushed(this.#nc);
    await pause(SETTLE_MS);
    this.#held = [];
    await flushed(second);
    await pause(HOLD_MS);
    this.#second = undefined;
    this.#release();
    leaveSecond();
    this.#deliverKept(undefined);
  }

  #subscribe(nc: NatsConnection, listener: Listener, which: Which): Subscription {
    const { queue, subject } = listener;
    return nc.subscribe(subject, {
      ...(queue === undefined ? {} : { queue }),
      callback: (error, msg) => {
        if (error !== null) this.#log.error({ err: error, subject }, "the bus refuses a subscription");
        else this.#heard(which, listener, msg);
      },
    });
  }

  #heard(which: Which, listener: Listener, msg: Msg): void {
    const overlap = this.#overlap;
    // Of a group one connection alone gets each message.
    if (overlap === undefined || listener.queue !== undefined) return this.#deliver(listener, msg);
    if (which !== overlap.from) return void overlap.kept.push({ listener, msg });
    const key = this.#keyOf(listener, msg);
    overlap.heard.set(key, (overlap.heard.get(key) ?? 0) + 1);
    this.#deliver(listener, msg);
  }

  #deliverKept(next: Overlap | undefined): void {
    const { heard, kept } = this.#overlap ?? { heard: new Map<string, number>(), kept: [] };
    this.#overlap = next;
    for (const { listener, msg } of kept) {
      const key = this.#keyOf(listener, msg);
      const times = heard.get(key) ?? 0;
      if (times > 0) heard.set(key, times - 1);
      else {
        // It counts as heard by the one that is believed from now on.
        next?.heard.set(key, (next.heard.get(key) ?? 0) + 1);
        this.#deliver(listener, msg);
      }
    }
  }

  #keyOf(listener: Listener, { data, headers, reply, subject }: Msg): string {
    const text = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("latin1");
    return [this.#names.get(listener), subject, reply, JSON.stringify([...(headers ?? [])]), text].join("\n");
  }

  #deliver({ handler, subject }: Listener, msg: Msg): void {
    try {
      handler(msg);
    } catch (cause) {
      this.#log.error({ err: cause, subject }, "a message could not be handled");
    }
  }

  #say(words: Parameters<NatsConnection["publish"]>): void {
    if (this.#held !== undefined) this.#held.push(words);
    else if (this.#second === undefined || this.#second.isClosed()) this.#publish(...words);
    else this.#second.publish(...words);
  }

  #release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const words of held) this.#say(words);
  }
}

async function flushed(nc: NatsConnection): Promise<void> {
  await within(nc.flush(), FLUSH_LIMIT_MS);
}
