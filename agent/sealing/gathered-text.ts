import type { DeltaFrame } from "../../bus-schemas/index.ts";

/** Pieces are gathered up to this length, characters: far below what any bus takes as one message. */
const MAX_CHARS = 16 * 1024;

/**
 * Joins the pieces of an answer's text that come within one turn of the event loop: each frame is sealed, padded and opened
 * for itself, and how a burst was cut into pieces is nobody's business. A piece that comes alone goes at the end of its turn.
 */
export class GatheredText {
  readonly #send: (frame: DeltaFrame) => void;
  #text = "";
  #due: NodeJS.Immediate | undefined;

  constructor(send: (frame: DeltaFrame) => void) {
    this.#send = send;
  }

  /** @returns false when the piece is not only text, or a large one: it goes by itself, after `flush`. */
  add({ content, reasoning, tool_calls: toolCalls }: DeltaFrame): boolean {
    if (content === undefined || reasoning !== undefined || toolCalls !== undefined) return false;
    if (content.length > MAX_CHARS) return false;
    if (this.#text.length + content.length > MAX_CHARS) this.flush();
    this.#text += content;
    this.#due ??= setImmediate(() => this.flush());
    return true;
  }

  /** Sends what is here. */
  flush(): void {
    if (this.#due === undefined) return;
    const content = this.#text;
    this.drop();
    this.#send({ type: "delta", content });
  }

  drop(): void {
    clearImmediate(this.#due);
    this.#due = undefined;
    this.#text = "";
  }
}
