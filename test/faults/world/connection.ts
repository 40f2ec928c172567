import { type Msg, type MsgHdrs, type Subscription } from "@nats-io/nats-core";
import { subjects } from "../../../bus-schemas/index.ts";
import type { Bus } from "../../../service/bus.ts";
import { newId } from "../../../service/ids.ts";
import type { Broker, Message, Peer } from "./broker.ts";
import { Link } from "./link.ts";
import type { Proc, World } from "./world.ts";

/** What the library says on a connection that was closed. */
export const CLOSED = "closed connection";

/** How the network is between a process and the broker. */
export interface Wire {
  latencyMs: () => number;
  gridMs: number;
  /** Largest body, bytes. */
  maxBytes: number;
}

/** How a connection breaks, milliseconds: when each side notices. Between, what it sends is lost. */
export interface Break {
  brokerNoticesMs: number;
  clientNoticesMs: number;
  /** Dialling again succeeds from then on. */
  backAfterMs: number;
  /** What was written to the socket before still arrives: the process died, not the network. */
  flushed?: boolean;
}

type ToBroker =
  | { type: "sub"; sid: number; subject: string; queue: string | undefined }
  | { type: "unsub"; sid: number }
  | { type: "pub"; message: Message }
  | { type: "ping"; pong: () => void };
type FromBroker = { sid: number; message: Message } | { pong: () => void };

interface Handler {
  subject: string;
  queue: string | undefined;
  handle: (msg: Msg) => void;
}

/** One dial: both directions, and the broker's end. */
interface Session extends Peer {
  up: Link<ToBroker>;
  down: Link<FromBroker>;
  /** Nothing new passes any more, whether or not somebody has noticed. */
  broken: boolean;
}

export interface ConnectionEvents {
  onPublish(proc: Proc, message: Message): void;
  onDeliver(proc: Proc, message: Message): void;
  onThrow(proc: Proc, error: unknown, what: string): void;
}

/** A process's connection: what `connectBus` gives, on the broker in memory. It reconnects for ever, and what is said meanwhile is lost. */
export class Connection {
  readonly bus: Bus;
  readonly #world: World;
  readonly #broker: Broker;
  readonly #proc: Proc;
  readonly #wire: Wire;
  readonly #events: ConnectionEvents;
  readonly #handlers = new Map<number, Handler>();
  #session: Session | undefined;
  #connected = false;
  #closed = false;
  #sids = 0;
  #onReconnect: (() => void)[] = [];

  constructor(world: World, broker: Broker, proc: Proc, wire: Wire, events: ConnectionEvents) {
    this.#world = world;
    this.#broker = broker;
    this.#proc = proc;
    this.#wire = wire;
    this.#events = events;
    this.#dial();
    const nc = {
      publish: (subject: string, data?: Uint8Array | string, options?: { headers?: MsgHdrs; reply?: string }) =>
        this.#publish(subject, data, options),
      isClosed: () => this.#closed,
      isDraining: () => false,
      flush: () => this.#flush(),
      status: () => this.#followStatus(),
      request: () => Promise.reject(new Error("requests are not simulated")),
    };
    this.bus = {
      nc: nc as never,
      subjects: subjects(),
      inbox: `_INBOX.${newId()}`,
      listen: (subject, handle, queue) => this.#listen(subject, handle, queue),
      connected: () => this.#connected && !this.#closed,
      drain: async () => {
        if (this.#closed) return;
        await this.#flush();
        this.#closed = true;
        this.close();
      },
    };
  }

  /** Messages arrive late until `forMs` from now, in one direction or both; none is lost. */
  stall(forMs: number, which: "up" | "down" | "both"): void {
    const untilMs = this.#world.nowMs + forMs;
    if (which !== "down") this.#session?.up.stall(untilMs);
    if (which !== "up") this.#session?.down.stall(untilMs);
  }

  /** The connection is lost, with what is under way on it. */
  cut(how: Break): void {
    const session = this.#session;
    if (session === undefined || session.broken) return;
    session.broken = true;
    const lost = session.down.lose() + (how.flushed === true ? 0 : session.up.lose());
    this.#world.note(`the connection of ${this.#proc.name} is cut, ${lost} lost`);
    const world = this.#world;
    world.at(world.nowMs + how.brokerNoticesMs, () => this.#broker.forget(session));
    if (!this.#proc.alive) return;
    world.at(world.nowMs + how.clientNoticesMs, () => this.#noticed(session, how), this.#proc);
  }

  /** The process closes its connection: what it wrote arrives before that. */
  close(): void {
    this.cut({ brokerNoticesMs: 5, clientNoticesMs: 0, backAfterMs: Infinity, flushed: true });
  }

  #noticed(session: Session, how: Break): void {
    if (this.#session !== session) return;
    this.#connected = false;
    this.#session = undefined;
    this.#world.note("the bus is gone");
    if (this.#closed || how.backAfterMs === Infinity) return;
    // As connectBus dials: 100 ms, and up to 400 ms more, again and again.
    const redial = () => 100 + 400 * this.#proc.chance.next();
    const backAtMs = this.#world.nowMs + how.backAfterMs;
    let atMs = this.#world.nowMs + redial();
    while (atMs < backAtMs) atMs += redial();
    this.#world.at(atMs, () => this.#redial(), this.#proc);
  }

  #redial(): void {
    this.#dial();
    for (const tell of this.#onReconnect.splice(0)) tell();
  }

  /** Of what the library tells, only what somebody here follows. */
  async *#followStatus(): AsyncGenerator<{ type: "reconnect" }> {
    for (;;) {
      await new Promise<void>((resolve) => void this.#onReconnect.push(resolve));
      yield { type: "reconnect" };
    }
  }

  #dial(): void {
    if (this.#closed) return;
    const { latencyMs, gridMs } = this.#wire;
    const session: Session = {
      name: this.#proc.name,
      broken: false,
      up: new Link<ToBroker>(this.#world, (item) => this.#atBroker(session, item), { latencyMs, gridMs: 0 }),
      down: new Link<FromBroker>(this.#world, (item) => this.#arrived(session, item), {
        latencyMs,
        gridMs,
        proc: this.#proc,
      }),
      deliver: (sid, message) => {
        if (!session.broken) session.down.send({ sid, message });
      },
    };
    this.#session = session;
    this.#connected = true;
    this.#world.note("connected");
    this.#broker.greet(session);
    for (const [sid, { subject, queue }] of this.#handlers) session.up.send({ type: "sub", sid, subject, queue });
  }

  #atBroker(session: Session, item: ToBroker): void {
    if (item.type === "pub") this.#broker.publish(session, item.message);
    else if (item.type === "sub") this.#broker.subscribe(session, item.sid, item.subject, item.queue);
    else if (item.type === "unsub") this.#broker.unsubscribe(session, item.sid);
    else if (!session.broken) session.down.send({ pong: item.pong });
  }

  #arrived(session: Session, item: FromBroker): void {
    if (session.broken) return;
    if ("pong" in item) return item.pong();
    const handler = this.#handlers.get(item.sid);
    if (handler === undefined) return;
    this.#world.note(`< ${item.message.subject}`);
    this.#events.onDeliver(this.#proc, item.message);
    try {
      handler.handle(this.#msg(item.message, item.sid));
    } catch (error) {
      this.#events.onThrow(this.#proc, error, item.message.subject);
    }
  }

  #msg({ subject, data, reply, headers }: Message, sid: number): Msg {
    return {
      subject,
      sid,
      data,
      reply,
      ...(headers === undefined ? {} : { headers }),
      respond: (body: Uint8Array | string, options: { headers?: MsgHdrs } = {}) => {
        if (reply === "") return false;
        this.#publish(reply, body, options);
        return true;
      },
      json: () => JSON.parse(new TextDecoder().decode(data)) as never,
      string: () => new TextDecoder().decode(data),
    };
  }

  #publish(subject: string, body: Uint8Array | string = "", options: { headers?: MsgHdrs; reply?: string } = {}): void {
    if (this.#closed) throw new Error(CLOSED);
    // The library copies what it is given, too.
    const data = typeof body === "string" ? new TextEncoder().encode(body) : body.slice();
    if (data.length > this.#wire.maxBytes) throw new Error("'payload' max_payload size exceeded");
    const message: Message = { subject, data, reply: options.reply ?? "", headers: options.headers };
    const passes = this.#session?.broken === false;
    this.#world.note(`> ${subject}${passes ? "" : " (lost)"}`);
    this.#events.onPublish(this.#proc, message);
    this.#send({ type: "pub", message });
  }

  #send(item: ToBroker): void {
    if (this.#session?.broken === false) this.#session.up.send(item);
  }

  #listen(subject: string, handle: (msg: Msg) => void, queue: string | undefined): Subscription {
    const sid = ++this.#sids;
    this.#handlers.set(sid, { subject, queue, handle });
    this.#send({ type: "sub", sid, subject, queue });
    const unsubscribe = () => {
      this.#handlers.delete(sid);
      this.#send({ type: "unsub", sid });
    };
    const drain = async () => {
      this.#send({ type: "unsub", sid });
      await this.#flush();
      this.#handlers.delete(sid);
    };
    return { unsubscribe, drain } as unknown as Subscription;
  }

  /** Resolves when the broker has had all that was sent; at once when it is away, and at the latest after a second. */
  #flush(): Promise<void> {
    const session = this.#session;
    if (session === undefined || session.broken) return Promise.resolve();
    return new Promise((resolve) => {
      session.up.send({ type: "ping", pong: resolve });
      setTimeout(resolve, 1000);
    });
  }
}
