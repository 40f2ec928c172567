import type { Msg, MsgHdrs } from "@nats-io/nats-core";
import {
  CE_TYPE_PREFIX,
  HEADERS,
  MeshError,
  NO_CLASS,
  SubjectToken,
  eventSource,
  parseOrThrow,
  type DataClass,
  type EventData,
  type EventType,
} from "../bus-schemas/index.ts";
import type { Bus } from "./bus.ts";
import { fromLine, toLine, type Envelope } from "./event-envelope.ts";
import { EventTally } from "./event-tally.ts";
import { newId } from "./ids.ts";
import type { Log } from "./log.ts";
import { headersFor } from "./messages.ts";
import type { Spool } from "./spool.ts";

/**
 * A stored event is acknowledged by JetStream; without an answer in this time it is sent again, milliseconds. The first time soon,
 * because a stream that changes its leader takes nothing for a moment, and P0 and P1 jobs wait (router/audit-gate.ts).
 */
const FIRST_RETRY_AFTER_MS = 400;
const RETRY_AFTER_MS = 2000;
/** How often it is looked for what is due, milliseconds. */
const RETRY_LOOK_MS = 200;
/** So often an event is sent again soon. */
const SOON_SENDS = 3;
/** Unacknowledged events kept in memory; beyond it new ones are refused (`audit_unavailable`). */
const MAX_PENDING = 50_000;
/** An event that could not be sent yet is older than any limit. */
const NEVER = -Infinity;
/** Events sent again in one go: a stream that comes back is not greeted by a flood. */
const MAX_RESENT = 2000;

export interface EventOptions {
  dataClass?: DataClass | undefined;
  traceparent?: string | undefined;
  /** Id to use, when it had to be known before; a ULID by default. */
  id?: string;
}

export interface Recorded {
  id: string;
  /** Resolves when the event is durable in the stream; rejects with `audit_unavailable` when `close()` came first. */
  durable: Promise<void>;
}

/** An event until it is durable. Only P0 and P1 wait for that, so the promise is made when it is asked for. */
class PendingEvent implements Recorded {
  sentAtMs = NEVER;
  sends = 0;
  readonly id: string;
  /** Undefined of what a former process left in the spool. */
  readonly type: string | undefined;
  readonly subject: string;
  readonly body: Uint8Array;
  readonly headers: MsgHdrs;
  #durable: PromiseWithResolvers<void> | undefined;
  /** Undefined until it is decided; null when the event is stored. */
  #error: MeshError | null | undefined;

  constructor(id: string, type: string | undefined, subject: string, body: Uint8Array, headers: MsgHdrs) {
    this.id = id;
    this.type = type;
    this.subject = subject;
    this.body = body;
    this.headers = headers;
  }

  get durable(): Promise<void> {
    if (this.#durable === undefined) {
      this.#durable = Promise.withResolvers();
      this.#durable.promise.catch(() => undefined);
      this.#tell();
    }
    return this.#durable.promise;
  }

  /** @param error null when it is durable now. */
  settle(error: MeshError | null): void {
    this.#error = error;
    this.#tell();
  }

  #tell(): void {
    if (this.#error === undefined) return;
    if (this.#error === null) this.#durable?.resolve();
    else this.#durable?.reject(this.#error);
  }
}

/**
 * Publishes events to the AUDIT stream at least once: each is sent until JetStream has acknowledged it, and
 * `Nats-Msg-Id` makes a repeat harmless. One subscription serves all acknowledgements, so a job costs no timer of its own.
 * With a spool, what this process or a former one could not deliver before it died is delivered by the next (ADR 0008).
 * Subject and `ce-source` name this process, which is all that a broker lets it say (ADR 0012).
 */
export class EventPublisher {
  readonly #bus: Bus;
  readonly #process: string;
  readonly #name: string;
  readonly #log: Log;
  readonly #pending = new Map<string, PendingEvent>();
  #clock = { ms: 0, iso: "" };
  /** Runs while something waits, and a little longer. */
  #timer: NodeJS.Timeout | undefined;
  readonly #acks: string;
  readonly #spool: Spool | undefined;
  #idle: (() => void) | undefined;
  /** What it has made, and what the stream has of that. */
  readonly tally = new EventTally();

  /**
   * @param process kind of process, `agent`, `router`, …
   * @param name which one of its kind; where there is only one, its kind again
   * @throws MeshError `bad_request` when one of them is no subject token
   */
  constructor(bus: Bus, process: string, name: string, log: Log, spool?: Spool) {
    this.#bus = bus;
    this.#process = parseOrThrow(SubjectToken, process);
    this.#name = parseOrThrow(SubjectToken, name);
    this.#log = log;
    this.#spool = spool;
    this.#acks = `${bus.inbox}.event.`;
    bus.listen(`${this.#acks}*`, (msg) => this.#onAck(msg));
    for (const { id, line } of spool?.leftovers ?? []) this.#again(id, line);
  }

  get pendingCount(): number {
    return this.#pending.size;
  }

  /** @throws MeshError `audit_unavailable` when too many events wait for the stream, or neither bus nor disk takes them. */
  record<T extends EventType>(type: T, data: EventData<T>, options: EventOptions = {}): Recorded {
    if (this.#pending.size >= MAX_PENDING) {
      throw new MeshError(
        "audit_unavailable",
        "the audit stream does not take events; check nats-server and the auditor",
        { retryAfterMs: 1000 },
      );
    }
    if (this.#spool?.broken === true && !this.#bus.connected()) {
      const message = "neither the bus nor the disk takes events; check nats-server and the space on the disk";
      throw new MeshError("audit_unavailable", message, { retryAfterMs: 1000 });
    }
    const id = options.id ?? newId();
    const envelope: Envelope = {
      id,
      type,
      eventClass: options.dataClass ?? NO_CLASS,
      time: this.#now(),
      traceparent: options.traceparent,
      body: JSON.stringify(data),
    };
    this.#spool?.put(id, toLine(envelope));
    this.tally.made(type);
    return this.#publish(envelope);
  }

  /** The time now as ISO 8601; written once a millisecond. */
  #now(): string {
    const ms = Date.now();
    if (this.#clock.ms !== ms) this.#clock = { ms, iso: new Date(ms).toISOString() };
    return this.#clock.iso;
  }

  #publish(envelope: Envelope, leftOver = false): PendingEvent {
    const { id, type, eventClass } = envelope;
    const subject = this.#bus.subjects.event(type, eventClass, this.#process, this.#name);
    const headers = headersFor("json", {
      [HEADERS.msgId]: id,
      [HEADERS.ceSpecVersion]: "1.0",
      [HEADERS.ceId]: id,
      [HEADERS.ceSource]: eventSource({ process: this.#process, name: this.#name }),
      [HEADERS.ceType]: CE_TYPE_PREFIX + type,
      [HEADERS.ceTime]: envelope.time,
      [HEADERS.traceparent]: envelope.traceparent,
    });
    // Buffer.from takes small bodies from a pool: half the time of TextEncoder.
    const event = new PendingEvent(id, leftOver ? undefined : type, subject, Buffer.from(envelope.body), headers);
    this.#pending.set(id, event);
    this.#timer ??= setInterval(() => this.#retry(), RETRY_LOOK_MS).unref();
    this.#send(event);
    return event;
  }

  /** Sends what a former process spooled, in our own name; a line that is none of ours is dropped. */
  #again(id: string, line: string): void {
    const envelope = fromLine(id, line);
    if (envelope === undefined) {
      this.#log.warn({ id }, "the spool held a line that is no event");
      this.#spool?.settle(id);
      return;
    }
    this.tally.leftOver++;
    this.#publish(envelope, true);
  }

  /**
   * Waits until all events are durable or `limitMs` is over. The rest stays in the spool for the next process of this
   * name; without a spool it is given up.
   */
  async close(limitMs = 3000): Promise<void> {
    if (this.#pending.size > 0) {
      await Promise.race([
        new Promise<void>((resolve) => (this.#idle = resolve)),
        new Promise<void>((resolve) => setTimeout(resolve, limitMs).unref()),
      ]);
    }
    clearInterval(this.#timer);
    if (this.#pending.size > 0)
      this.#log.warn({ events: this.#pending.size }, "events were not acknowledged before the stop");
    for (const event of this.#pending.values())
      event.settle(new MeshError("audit_unavailable", "the process stopped before the event was stored"));
    this.#pending.clear();
    await this.#spool?.close();
  }

  #send(entry: PendingEvent): void {
    // While the connection is away the library drops what is published: it goes out with the first retry after the return.
    if (!this.#bus.connected()) return;
    entry.sentAtMs = performance.now();
    entry.sends++;
    try {
      this.#bus.nc.publish(entry.subject, entry.body, { headers: entry.headers, reply: this.#acks + entry.id });
    } catch (error) {
      this.#log.debug({ err: error }, "an event waits for the bus");
    }
  }

  #onAck(msg: Msg): void {
    const id = msg.subject.slice(this.#acks.length);
    const entry = this.#pending.get(id);
    // A 503 (no stream yet) has headers and no body: the retry sends it again.
    if (entry === undefined || msg.data.length === 0) return;
    const ack = parseAck(msg);
    if (ack?.error !== undefined) {
      this.#log.warn({ code: ack.error.code }, "the audit stream refused an event; trying again");
      return;
    }
    if (ack?.stream === undefined) return;
    this.#pending.delete(id);
    this.#spool?.settle(id);
    // One that the stream already had may have come from another process, by an id that both know.
    if (entry.type !== undefined && ack.duplicate !== true) this.tally.stored(entry.type);
    entry.settle(null);
    if (this.#pending.size === 0) this.#idle?.();
  }

  #retry(): void {
    if (this.#pending.size === 0) this.#timer = void clearInterval(this.#timer);
    if (!this.#bus.connected()) return;
    const nowMs = performance.now();
    let left = MAX_RESENT;
    for (const entry of this.#pending.values()) {
      const afterMs = entry.sends > SOON_SENDS ? RETRY_AFTER_MS : FIRST_RETRY_AFTER_MS;
      if (entry.sentAtMs > nowMs - afterMs) continue;
      if (left-- === 0) return;
      this.#send(entry);
    }
  }
}

interface PubAck {
  stream?: string;
  duplicate?: boolean;
  error?: { code?: number };
}

function parseAck(msg: Msg): PubAck | undefined {
  try {
    return msg.json<PubAck>();
  } catch {
    return undefined;
  }
}
