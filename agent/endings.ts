import type { Msg } from "@nats-io/nats-core";
import { Heard, lastToken, type GoAhead } from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import { readBody, respond } from "../service/messages.ts";

/** A router that has not confirmed an ending is told again after this time, and then after twice the last one, milliseconds. */
const AGAIN_MS = 500;
/** Routers of an older version confirm nothing: told so often, an ending is taken for heard. */
const TIMES = 5;
/** So long a router may ask whether a job that was handed back is its own, milliseconds: until it has noticed that a node is lost. */
const ASKED_FOR_MS = 10_000;
/** Endings that wait to be confirmed, at most; the oldest has been told and is left at that. */
const MAX_WAITING = 1000;

interface Ending {
  /** Tells the router; its confirmation goes to the subject that it is given. */
  say: (reply: string) => void;
  /** Of a job that was handed back: its router's question, whether it may go on. */
  take: (() => boolean) | undefined;
  told: number;
  timer: NodeJS.Timeout | undefined;
}

/**
 * Endings that routers are told until they confirm them: a word is lost with the server of the bus that dies while it is on its way,
 * and a router that waits for it keeps the job's place taken, and in the end tells the caller that nothing ever came.
 */
export class Endings {
  readonly #bus: Bus;
  readonly #replies: string;
  readonly #waiting = new Map<string, Ending>();
  #count = 0;

  constructor(bus: Bus) {
    this.#bus = bus;
    this.#replies = `${bus.inbox}.ended`;
  }

  start(): void {
    this.#bus.listen(`${this.#replies}.*`, (msg) => this.#onConfirmed(msg));
  }

  /** @param take of a job that was handed back: answers its router's question, whether it may go on */
  add(say: (reply: string) => void, take?: () => boolean): void {
    const key = (this.#count++).toString(36);
    if (this.#waiting.size >= MAX_WAITING) this.#forget(this.#waiting.keys().next().value ?? "");
    const ending: Ending = { say, take, told: 0, timer: undefined };
    this.#waiting.set(key, ending);
    this.#tell(key, ending);
  }

  /** The bus is back: what was said last before it went may have been lost with it. */
  catchUp(): void {
    for (const [key, ending] of this.#waiting) {
      if (ending.told >= TIMES) continue;
      clearTimeout(ending.timer);
      ending.told = 0;
      this.#tell(key, ending);
    }
  }

  #tell(key: string, ending: Ending): void {
    // This agent stops: what it has said is on its way, and it can say no more.
    if (this.#bus.nc.isClosed() || this.#bus.nc.isDraining()) return this.#forget(key);
    // While the bus is away nobody would hear it.
    if (!this.#bus.connected()) return;
    ending.say(`${this.#replies}.${key}`);
    ending.timer = setTimeout(
      () => {
        if (++ending.told < TIMES) this.#tell(key, ending);
        else this.#confirmed(key, ending);
      },
      AGAIN_MS * 2 ** ending.told,
    );
    ending.timer.unref();
  }

  #onConfirmed(msg: Msg): void {
    // The broker's word that no router is there: it may be back before this is said for the last time.
    if (msg.headers?.code === 503 && msg.data.length === 0) return;
    const key = lastToken(msg.subject);
    const ending = this.#waiting.get(key);
    if (ending === undefined) return;
    if (ending.take !== undefined && readBody(msg, Heard).take) respond(msg, { go: ending.take() } satisfies GoAhead);
    this.#confirmed(key, ending);
  }

  /** It is not told again; who may still ask about it gets the same answer. */
  #confirmed(key: string, ending: Ending): void {
    clearTimeout(ending.timer);
    if (ending.take === undefined) return this.#forget(key);
    ending.told = TIMES;
    ending.timer = setTimeout(() => this.#forget(key), ASKED_FOR_MS);
    ending.timer.unref();
  }

  #forget(key: string): void {
    clearTimeout(this.#waiting.get(key)?.timer);
    this.#waiting.delete(key);
  }
}
