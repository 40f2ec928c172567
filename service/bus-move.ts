/**
 * A server that is about to stop says so to its clients some seconds before (lame duck mode). A client library then waits to be
 * cut and comes back elsewhere, and what is said in between is lost. We move first, by a second connection to another server:
 *
 * 1. The second hears what the first hears; what comes there is kept until everything that was under way to the first has been
 *    read. From then on a message is delivered when either hears it, once: nothing is lost, nothing comes twice, and order is kept.
 * 2. Meanwhile we speak by the second; the first goes to another server and comes back, and takes over again in the same way.
 */
import type { Msg, NatsConnection, PublishOptions, Subscription } from "@nats-io/nats-core";
import { FirstHearing, type Ear } from "./first-hearing.ts";
import type { Log } from "./log.ts";
import { pause } from "./loop.ts";
import { within } from "./within.ts";

/**
 * Before a move, milliseconds. What the first has heard may still be on its way to another server, and must be known when it comes
 * by the second: hence the least. A whole fleet is not to move in one moment: hence the spread. Both are well within the servers'
 * grace (bus-server/server-config.ts).
 */
const WAIT_MS = { least: 500, spread: 1000 };
/** Until all servers of the cluster know of a new subscription, milliseconds. */
const SETTLE_MS = 150;
/** Between the last word by one connection and the first by another: what was said first arrives first, milliseconds. */
const HOLD_MS = 150;
/** A connection that does not answer within this time will not any more, milliseconds. */
const FLUSH_LIMIT_MS = 1000;
/** The first connection is back within this time, milliseconds; until then the second does its work. */
const RETURN_LIMIT_MS = 20_000;
/** For this long after a move answers to what came by the second may still be sent by it, and the first may lag behind, milliseconds. */
const LINGER_MS = 10_000;

/**
 * What the name of a second connection ends with, in the broker's list and in its advisories: that one is closed again is no
 * sign of anybody's death, whatever else its hearer knows of the client.
 */
export const MOVING_MARK = " (moving)";

interface Listener {
  id: number;
  subject: string;
  queue: string | undefined;
  handler: (msg: Msg) => void;
  /** While the second connection hears it too. */
  second?: Subscription;
}

/** Both connections hear the same. */
interface Overlap {
  hearing: FirstHearing;
  /** This one has only begun to hear, and may be ahead of what the other has yet to hear: what it hears is kept for now. */
  beginner: Ear | undefined;
  kept: { listener: Listener; msg: Msg }[];
}

export class Mover {
  readonly #nc: NatsConnection;
  readonly #dial: () => Promise<NatsConnection>;
  readonly #log: Log;
  readonly #listeners = new Set<Listener>();
  readonly #publish: NatsConnection["publish"];
  readonly #request: NatsConnection["request"];
  #overlap: Overlap | undefined;
  /** While a move is on: when the first connection has come back. */
  #back: PromiseWithResolvers<void> | undefined;
  /** While it does the work of the first. */
  #second: NatsConnection | undefined;
  /** While it hears what the first hears. */
  #hearsToo: NatsConnection | undefined;
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
    const listener: Listener = { id: ++this.#count, subject, queue, handler };
    const subscription = this.#subscribe(this.#nc, listener, "first");
    this.#listeners.add(listener);
    if (this.#hearsToo !== undefined) listener.second = this.#subscribe(this.#hearsToo, listener, "second");
    void subscription.closed.then(() => {
      this.#listeners.delete(listener);
      listener.second?.unsubscribe();
    });
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
    const overlap: Overlap = { hearing: new FirstHearing(), beginner: "second", kept: [] };
    this.#overlap = overlap;
    const over = (): void => {
      if (this.#overlap === overlap) this.#overlap = undefined;
    };
    await pause(WAIT_MS.least + Math.random() * WAIT_MS.spread);
    let second: NatsConnection;
    try {
      second = await this.#dial();
    } catch (error) {
      over();
      // A bus of one server; it is dialled again when it is back.
      return this.#log.info({ err: error }, "no other server to move to");
    }
    if (this.#nc.isClosed() || this.#nc.isDraining()) return second.close();
    this.#log.info({ to: second.getServer() }, "this server is stopping: moving to another");
    await this.#toSecond(second, overlap);
    overlap.beginner = "first";
    // Unless it was cut and is back already.
    await this.#nc.reconnect();
    await within(back, RETURN_LIMIT_MS);
    await this.#toFirst(second, overlap);
    this.#hearsToo = undefined;
    for (const listener of this.#listeners) listener.second?.unsubscribe();
    setTimeout(() => {
      over();
      void second.close();
    }, LINGER_MS).unref();
  }

  async #toSecond(second: NatsConnection, overlap: Overlap): Promise<void> {
    this.#hearsToo = second;
    for (const listener of this.#listeners) listener.second = this.#subscribe(second, listener, "second");
    await flushed(second);
    await pause(SETTLE_MS);
    await this.#handOver(this.#nc, second, overlap);
  }

  async #toFirst(second: NatsConnection, overlap: Overlap): Promise<void> {
    await flushed(this.#nc);
    await pause(SETTLE_MS);
    await this.#handOver(second, undefined, overlap);
  }

  /** We speak by `to` after our last word by `from` has had time to arrive, and deliver what the beginner has heard. */
  async #handOver(from: NatsConnection, to: NatsConnection | undefined, overlap: Overlap): Promise<void> {
    this.#held = [];
    await flushed(from);
    await pause(HOLD_MS);
    this.#second = to;
    this.#release();
    const beginner = overlap.beginner ?? "second";
    overlap.beginner = undefined;
    for (const { listener, msg } of overlap.kept.splice(0)) this.#heard(beginner, listener, msg);
  }

  #subscribe(nc: NatsConnection, listener: Listener, ear: Ear): Subscription {
    const { queue, subject } = listener;
    return nc.subscribe(subject, {
      ...(queue === undefined ? {} : { queue }),
      callback: (error, msg) => {
        if (error !== null) this.#log.error({ err: error, subject }, "the bus refuses a subscription");
        else this.#heard(ear, listener, msg);
      },
    });
  }

  #heard(ear: Ear, listener: Listener, msg: Msg): void {
    const overlap = this.#overlap;
    // Of a group one connection alone gets each message.
    if (overlap === undefined || listener.queue !== undefined) this.#deliver(listener, msg);
    else if (ear === overlap.beginner) overlap.kept.push({ listener, msg });
    else if (overlap.hearing.isFirst(ear, listener.id, msg)) this.#deliver(listener, msg);
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
