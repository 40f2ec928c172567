import type { Msg } from "@nats-io/nats-core";
import { GoAhead, lastToken, type Heard } from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import { encode } from "../service/codec.ts";
import { headersFor, readBody } from "../service/messages.ts";

/** A node that has not answered is asked again after this time, milliseconds. */
const ASK_AGAIN_MS = 300;

interface Question {
  timer: NodeJS.Timeout;
  then: (mine: boolean) => void;
}

/**
 * Asks nodes whether a job that they handed back is still this router's to go on with. When this process stood still, or the word was
 * late, the node has taken it for gone and told the caller itself (agent/handed-back.ts).
 */
export class TakeBacks {
  readonly #bus: Bus;
  readonly #replies: string;
  readonly #asked = new Map<string, Question>();

  constructor(bus: Bus) {
    this.#bus = bus;
    this.#replies = `${bus.inbox}.taken`;
  }

  start(): void {
    this.#bus.listen(`${this.#replies}.*`, (msg) => this.#onAnswer(msg));
  }

  /**
   * @param token of the dispatch
   * @param to where the node listens; "" = it does not, and the job is taken
   * @param stands whether the dispatch is there yet; a node that is lost answers no more
   */
  ask(token: string, to: string, stands: () => boolean, then: (mine: boolean) => void): void {
    if (to === "") return then(true);
    // The node has said it again.
    if (this.#asked.has(token)) return;
    const say = (): void => {
      const { nc } = this.#bus;
      if (!stands() || nc.isClosed() || nc.isDraining()) return this.#forget(token);
      const body: Heard = { heard: true, take: true };
      nc.publish(to, encode(body, "json"), {
        headers: headersFor("json"),
        reply: `${this.#replies}.${token}`,
      });
    };
    this.#asked.set(token, { timer: setInterval(say, ASK_AGAIN_MS), then });
    say();
  }

  #onAnswer(msg: Msg): void {
    // The broker's word that the node is not there: it may be back before it is lost.
    if (msg.headers?.code === 503 && msg.data.length === 0) return;
    const token = lastToken(msg.subject);
    const question = this.#asked.get(token);
    if (question === undefined) return;
    const { go } = readBody(msg, GoAhead);
    this.#forget(token);
    question.then(go);
  }

  #forget(token: string): void {
    clearInterval(this.#asked.get(token)?.timer);
    this.#asked.delete(token);
  }
}
