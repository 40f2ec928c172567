import type { Msg, MsgHdrs } from "@nats-io/nats-core";
import {
  CONTENT_TYPES,
  HEADERS,
  JobResult,
  MeshError,
  joinToolCalls,
  type DeltaFrame,
  type JobResultInput,
  type StreamFrame,
  type ToolCallDelta,
} from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import { answerEncoding, encode, type Encoding } from "../service/codec.ts";
import { header, headersFor, makeHeaders } from "../service/messages.ts";
import { paddedJson, type FrameKey } from "../service/sealing/index.ts";
import { GatheredText } from "./sealing/gathered-text.ts";

/** Silence after which an agent says that it is still working, milliseconds. */
const WORKING_EVERY_MS = 1000;
/** Half of what our bus takes (8 MiB), for JSON escapes; an answer kept for one reply that grows beyond it fails early. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

type Deliver = (data: Uint8Array, headers: MsgHdrs) => void;

/**
 * The way back to the caller's inbox: numbered frames when the caller wants a stream, otherwise one JobResult with the
 * whole message. Invariants: exactly one end, nothing after it; the numbers have no holes; it never throws, whatever the
 * bus says to a message.
 */
export class Answer {
  readonly #bus: Bus;
  readonly #inbox: string;
  readonly #encoding: Encoding;
  readonly #stream: boolean;
  readonly #key: FrameKey | undefined;
  readonly #deliver: Deliver;
  /** Of a sealed stream. */
  readonly #gathered: GatheredText | undefined;
  readonly #timer: NodeJS.Timeout | undefined;
  #seq = 0;
  #lastSentMs = 0;
  #content = "";
  #bytes = 0;
  #toolCalls: ToolCallDelta[] = [];
  #ended = false;
  queued = true;
  /** Its job waits for something: the caller hears nothing, not even that it works. */
  held = false;

  /**
   * @param key of a sealed job: its frames go sealed.
   * @param deliver takes what goes out in clear; by default it is published to the inbox, once
   */
  constructor(bus: Bus, msg: Msg, inbox: string, stream: boolean, key?: FrameKey, deliver?: Deliver) {
    this.#bus = bus;
    this.#inbox = inbox;
    this.#encoding = answerEncoding(header(msg, HEADERS.contentType));
    this.#stream = stream;
    this.#key = key;
    this.#deliver = deliver ?? ((data, headers) => bus.nc.publish(inbox, data, { headers }));
    if (stream && key !== undefined) this.#gathered = new GatheredText((frame) => void this.#publish(frame));
    if (stream) this.#timer = setInterval(() => this.#working(), WORKING_EVERY_MS);
  }

  accepted(frame: Extract<StreamFrame, { type: "accepted" }>): void {
    if (this.#stream) this.#publish(frame);
  }

  /** @returns false when this piece, or the answer with it, is more than can be delivered. */
  delta(chunk: DeltaFrame): boolean {
    if (this.#ended) return true;
    if (this.#gathered?.add(chunk) === true) return true;
    this.#gathered?.flush();
    if (this.#stream) return this.#publish(chunk);
    this.#content += chunk.content ?? "";
    this.#bytes += Buffer.byteLength(chunk.content ?? "");
    if (chunk.tool_calls !== undefined) {
      this.#toolCalls.push(...(chunk.tool_calls as ToolCallDelta[]));
      this.#bytes += Buffer.byteLength(JSON.stringify(chunk.tool_calls));
    }
    return this.#bytes <= MAX_ANSWER_BYTES;
  }

  /** @returns the ending that the caller was told: an answer that the bus does not take becomes `payload_too_large`. */
  end(ending: JobResultInput): JobResult {
    const result = JobResult.parse(ending);
    if (this.#ended) return result;
    this.#gathered?.flush();
    if (!this.#stream && result.status === "finished" && result.output === null) {
      const toolCalls = joinToolCalls(this.#toolCalls);
      const content = this.#content === "" && toolCalls.length > 0 ? null : this.#content;
      result.message = { role: "assistant", content, ...(toolCalls.length === 0 ? {} : { tool_calls: toolCalls }) };
    }
    const told = this.#publish(result) ? result : tooLarge(result);
    if (told !== result) this.#publish(told);
    this.close();
    return told;
  }

  /** Falls silent without an end: the caller asked elsewhere. */
  close(): void {
    this.#ended = true;
    this.#gathered?.drop();
    clearInterval(this.#timer);
  }

  #working(): void {
    if (!this.held && performance.now() - this.#lastSentMs >= WORKING_EVERY_MS * 0.9)
      this.#publish({ type: "working", queued: this.queued });
  }

  /** @returns false when the bus does not take the message; a bus that is closed takes nothing, and nobody listens. */
  #publish(frame: StreamFrame): boolean {
    const { nc } = this.#bus;
    if (this.#ended || nc.isClosed()) return true;
    try {
      if (this.#key === undefined) {
        const headers = headersFor(this.#encoding, this.#stream ? { [HEADERS.seq]: String(this.#seq) } : {});
        this.#deliver(encode(frame, this.#encoding), headers);
      } else {
        const headers = makeHeaders({
          [HEADERS.contentType]: CONTENT_TYPES.sealed,
          [HEADERS.seq]: String(this.#seq),
        });
        nc.publish(this.#inbox, this.#key.seal(this.#seq, paddedJson(frame)), { headers });
      }
    } catch {
      // What was sealed under this number has not left the process, so the number is still free.
      return nc.isClosed() || nc.isDraining();
    }
    this.#seq++;
    this.#lastSentMs = performance.now();
    return true;
  }
}

function tooLarge(result: JobResult): JobResult {
  const instead = result.output === null ? "ask with stream: true" : "send fewer texts at once";
  const error = new MeshError("payload_too_large", `the answer is larger than the bus takes; ${instead}`);
  return { ...result, status: "failed", message: null, output: null, finish_reason: null, error: error.toWire() };
}
