import type { IncomingMessage } from "node:http";
import { createParser, type EventSourceMessage } from "eventsource-parser";
import { MeshError, type DeltaFrame, type Usage } from "../../bus-schemas/index.ts";
import { estimatePromptTokens, estimateTokens } from "./estimate-tokens.ts";
import { isOwnGateway, sendLoopback, type LoopbackTarget } from "./loopback-http.ts";
import { asObject, readChunk } from "./openai-chunk.ts";
import type { RuntimeJob } from "./runtime.ts";

/** An answer beyond this is a broken runtime, not a long answer: 64 MiB of events is some 300,000 tokens. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
/** One event; the longest real ones are tool arguments sent whole. */
const MAX_EVENT_CHARS = 4 * 1024 * 1024;

/** How an OpenAI stream ended. Usable as the `done` of a RuntimeChunk. */
export interface OpenAiDone {
  type: "done";
  finishReason: string | null;
  usage: Usage;
  /** Prompt tokens answered from the prefix cache, as far as the runtime says. */
  cachedPromptTokens: number;
}

/**
 * Runs a job by `POST /v1/chat/completions`, always streaming. Ends early and silently when `signal` aborts; aborting, and leaving
 * the loop, closes the connection, which is how these servers learn that nobody wants the rest.
 * @throws MeshError `runtime_failed`, `all_busy` (429, 503), `bad_request` or `payload_too_large`; never quoting what the server said,
 *   because servers quote prompts in their errors.
 */
export async function* streamChat(
  target: LoopbackTarget,
  job: RuntimeJob,
  signal: AbortSignal,
): AsyncIterable<DeltaFrame | OpenAiDone> {
  // Listening of our own, because leaving the loop must close the connection too.
  const closer = new AbortController();
  const close = (): void => closer.abort();
  signal.addEventListener("abort", close, { once: true });
  if (signal.aborted) close();
  try {
    const response = await sendLoopback(
      target,
      {
        method: "POST",
        path: "/v1/chat/completions",
        accept: "text/event-stream",
        body: {
          ...job.parameters,
          model: job.model,
          messages: job.messages,
          stream: true,
          stream_options: { include_usage: true },
        },
      },
      closer.signal,
    );
    checkHead(response);
    yield* readAnswer(response, job);
  } catch (error) {
    if (signal.aborted) return;
    throw MeshError.from(error, "runtime_failed", "the runtime closed the connection or does not answer");
  } finally {
    signal.removeEventListener("abort", close);
    close();
  }
}

function checkHead(response: IncomingMessage): void {
  const status = response.statusCode ?? 0;
  if (isOwnGateway(response))
    throw new MeshError("runtime_failed", "this mesh's own gateway answers where the runtime was");
  if (status === 200) {
    if (/^text\/event-stream/i.test(response.headers["content-type"] ?? "")) return;
    throw new MeshError("runtime_failed", "the runtime did not answer with an event stream");
  }
  if (status === 429 || status === 503) {
    const seconds = Number(response.headers["retry-after"]);
    const retryAfterMs = seconds > 0 && seconds <= 3600 ? seconds * 1000 : undefined;
    throw new MeshError("all_busy", `the runtime is busy or still loading the model (HTTP ${status})`, {
      retryAfterMs,
    });
  }
  if (status === 413) throw new MeshError("payload_too_large", "the runtime finds the request too large (HTTP 413)");
  if (status === 400 || status === 415 || status === 422) {
    throw new MeshError(
      "bad_request",
      `the runtime does not accept these messages or parameters (HTTP ${status}); is the prompt within its context?`,
    );
  }
  // 401, 404 and the like: the runtime is not what it was at the last inspection. Another node may still do the job.
  throw new MeshError("runtime_failed", `the runtime answered HTTP ${status}`);
}

async function* readAnswer(response: IncomingMessage, job: RuntimeJob): AsyncIterable<DeltaFrame | OpenAiDone> {
  let events: EventSourceMessage[] = [];
  let parserFailed = false;
  const parser = createParser({
    maxBufferSize: MAX_EVENT_CHARS,
    onEvent: (event) => events.push(event),
    onError: (error) => {
      // Unknown fields are to be ignored (the SSE standard); a full buffer ends the parser.
      if (error.type === "max-buffer-size-exceeded") parserFailed = true;
    },
  });
  const decoder = new TextDecoder();
  const tally = new Tally(job);
  let sizeBytes = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    sizeBytes += part.byteLength;
    if (sizeBytes > MAX_ANSWER_BYTES) throw new MeshError("runtime_failed", "the runtime's answer is too long");
    parser.feed(decoder.decode(part, { stream: true }));
    if (parserFailed) throw new MeshError("runtime_failed", "the runtime sent an event that is too long");
    for (const event of events) {
      if (event.data === "[DONE]") return yield tally.done();
      const delta = tally.read(event);
      if (delta !== undefined) yield delta;
    }
    events = [];
  }
  // Some servers close instead of `[DONE]`. That is complete only if they said why they stopped.
  if (tally.finishReason === null) throw new MeshError("runtime_failed", "the runtime's answer broke off");
  yield tally.done();
}

/** What an answer has amounted to so far. */
class Tally {
  finishReason: string | null = null;
  readonly #job: RuntimeJob;
  #promptTokens: number | undefined;
  #completionTokens: number | undefined;
  #cachedPromptTokens = 0;
  #estimatedTokens = 0;

  constructor(job: RuntimeJob) {
    this.#job = job;
  }

  read(event: EventSourceMessage): DeltaFrame | undefined {
    const chunk = parseObject(event.data);
    // To skip what cannot be read would be to lose a piece of the answer and not say so.
    if (chunk === undefined)
      throw new MeshError("runtime_failed", "the runtime sent an event that is not a JSON object");
    if (event.event === "error" || (chunk["error"] !== undefined && chunk["error"] !== null)) {
      throw new MeshError("runtime_failed", "the runtime reported an error in the middle of its answer");
    }
    const parts = readChunk(chunk);
    this.finishReason = parts.finishReason ?? this.finishReason;
    this.#promptTokens = parts.promptTokens ?? this.#promptTokens;
    this.#completionTokens = parts.completionTokens ?? this.#completionTokens;
    this.#cachedPromptTokens = parts.cachedPromptTokens ?? this.#cachedPromptTokens;
    // A delta is a token with most servers, and several with some.
    if (parts.delta !== undefined) {
      this.#estimatedTokens += Math.max(
        1,
        estimateTokens(`${parts.delta.content ?? ""}${parts.delta.reasoning ?? ""}`),
      );
    }
    return parts.delta;
  }

  done(): OpenAiDone {
    return {
      type: "done",
      finishReason: this.finishReason,
      usage: {
        prompt_tokens: this.#promptTokens ?? estimatePromptTokens(this.#job.messages),
        completion_tokens: this.#completionTokens ?? this.#estimatedTokens,
        estimated: this.#promptTokens === undefined || this.#completionTokens === undefined,
      },
      cachedPromptTokens: this.#cachedPromptTokens,
    };
  }
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    return asObject(JSON.parse(text));
  } catch {
    return undefined;
  }
}
