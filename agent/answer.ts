import type { Msg } from "@nats-io/nats-core";
import {
  HEADERS,
  JobResult,
  joinToolCalls,
  type DeltaFrame,
  type JobResultInput,
  type StreamFrame,
  type ToolCallDelta,
} from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import { answerEncoding, encode, type Encoding } from "../service/codec.ts";
import { header, headersFor } from "../service/messages.ts";

/** Silence after which an agent says that it is still working, milliseconds. */
const WORKING_EVERY_MS = 1000;
/** Answers larger than this end with an error instead of a message the bus would refuse, characters. */
const MAX_ANSWER_CHARS = 4_000_000;

/**
 * The way back to the caller's inbox: numbered frames when the caller wants a stream, otherwise one JobResult with the
 * whole message. Invariant: exactly one end, nothing after it.
 */
export class Answer {
  readonly #bus: Bus;
  readonly #inbox: string;
  readonly #encoding: Encoding;
  readonly #stream: boolean;
  readonly #timer: NodeJS.Timeout | undefined;
  #seq = 0;
  #lastSentMs = 0;
  #content = "";
  #toolCalls: ToolCallDelta[] = [];
  #ended = false;
  queued = true;

  constructor(bus: Bus, msg: Msg, inbox: string, stream: boolean) {
    this.#bus = bus;
    this.#inbox = inbox;
    this.#encoding = answerEncoding(header(msg, HEADERS.contentType));
    this.#stream = stream;
    if (stream) this.#timer = setInterval(() => this.#working(), WORKING_EVERY_MS);
  }

  accepted(frame: Extract<StreamFrame, { type: "accepted" }>): void {
    if (this.#stream) this.#publish(frame);
  }

  /** @returns false when the answer has grown beyond what can be delivered. */
  delta(chunk: DeltaFrame): boolean {
    if (this.#ended) return true;
    if (this.#stream) {
      this.#publish(chunk);
      return true;
    }
    this.#content += chunk.content ?? "";
    if (chunk.tool_calls !== undefined) this.#toolCalls.push(...(chunk.tool_calls as ToolCallDelta[]));
    return this.#content.length <= MAX_ANSWER_CHARS;
  }

  end(ending: JobResultInput): void {
    if (this.#ended) return;
    const result = JobResult.parse(ending);
    if (!this.#stream && result.status === "finished") {
      const toolCalls = joinToolCalls(this.#toolCalls);
      const content = this.#content === "" && toolCalls.length > 0 ? null : this.#content;
      result.message = { role: "assistant", content, ...(toolCalls.length === 0 ? {} : { tool_calls: toolCalls }) };
    }
    this.#publish(result);
    this.close();
  }

  /** Falls silent without an end: the caller asked elsewhere. */
  close(): void {
    this.#ended = true;
    clearInterval(this.#timer);
  }

  #working(): void {
    if (performance.now() - this.#lastSentMs >= WORKING_EVERY_MS * 0.9)
      this.#publish({ type: "working", queued: this.queued });
  }

  #publish(frame: StreamFrame): void {
    if (this.#ended || this.#bus.nc.isClosed()) return;
    const headers = headersFor(this.#encoding);
    if (this.#stream) headers.set(HEADERS.seq, String(this.#seq++));
    this.#lastSentMs = performance.now();
    this.#bus.nc.publish(this.#inbox, encode(frame, this.#encoding), { headers });
  }
}
