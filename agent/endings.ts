import type { Msg } from "@nats-io/nats-core";
import { lastToken } from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";

/** A router that has not confirmed an ending is told again after this time, and then after twice the last one, milliseconds. */
const AGAIN_MS = 500;
/** Routers of an older version confirm nothing: told so often, an ending is taken for heard. */
const TIMES = 5;
/** Endings that wait to be confirmed, at most; the oldest has been told and is left at that. */
const MAX_WAITING = 1000;

interface Ending {
  /** Tells the router; its confirmation goes to the subject that it is given. */
  say: (reply: string) => void;
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

  add(say: (reply: string) => void): void {
    const key = (this.#count++).toString(36);
    if (this.#waiting.size >= MAX_WAITING) this.#forget(this.#waiting.keys().next().value ?? "");
    const ending: Ending = { say, told: 0, timer: undefined };
    this.#waiting.set(key, ending);
    this.#tell(key, ending);
  }

  /** The bus is back: what was said last before it went may have been lost with it. */
  catchUp(): void {
    for (const [key, ending] of this.#waiting) {
      clearTimeout(ending.timer);
      ending.told = 0;
      this.#tell(key, ending);
    }
  }

  #tell(key: string, ending: Ending): void {
    if (this.#bus.nc.isClosed()) return this.#forget(key);
    // While the bus is away nobody would hear it.
    if (!this.#bus.connected()) return;
    ending.say(`${this.#replies}.${key}`);
    ending.timer = setTimeout(
      () => {
        if (++ending.told < TIMES) this.#tell(key, ending);
        else this.#forget(key);
      },
      AGAIN_MS * 2 ** ending.told,
    );
    ending.timer.unref();
  }

  #onConfirmed(msg: Msg): void {
    this.#forget(lastToken(msg.subject));
  }

  #forget(key: string): void {
    clearTimeout(this.#waiting.get(key)?.timer);
    this.#waiting.delete(key);
  }
}
