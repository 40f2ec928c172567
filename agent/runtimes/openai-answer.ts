import type { EventSourceMessage } from "eventsource-parser";
import { MeshError, type DeltaFrame, type TaskOutput, type Usage } from "../../bus-schemas/index.ts";
import { estimateJobTokens, estimateTokens } from "./estimate-tokens.ts";
import { eventObject, readEvents, type EventStreamOptions } from "./event-stream.ts";
import { readChunk } from "./openai-chunk.ts";
import type { RuntimeJob } from "./runtime.ts";

/** How a streamed answer ended. Usable as the `done` of a RuntimeChunk. */
export interface StreamDone {
  type: "done";
  finishReason: string | null;
  usage: Usage;
  /** Prompt tokens answered from the prefix cache, as far as the server says. */
  cachedPromptTokens: number;
  /** Of a task that writes no text. */
  output?: TaskOutput;
}

/**
 * The answer in the body of OpenAI's `POST /chat/completions`, or `POST /completions`, with `stream: true`.
 * @throws MeshError `runtime_failed` when it breaks off or is none; never quoting what the server said.
 */
export async function* readOpenAiAnswer(
  body: AsyncIterable<Buffer>,
  job: RuntimeJob,
  options: EventStreamOptions,
): AsyncIterable<DeltaFrame | StreamDone> {
  const tally = new Tally(job, options.who);
  for await (const event of readEvents(body, options)) {
    if (event.data === "[DONE]") return yield tally.done();
    const delta = tally.read(event);
    if (delta !== undefined) yield delta;
  }
  // Some servers close instead of `[DONE]`. That is complete only if they said why they stopped.
  if (tally.finishReason === null) throw new MeshError("runtime_failed", `${options.who}'s answer broke off`);
  yield tally.done();
}

/** What an answer has amounted to so far. */
class Tally {
  finishReason: string | null = null;
  readonly #job: RuntimeJob;
  readonly #who: string;
  #promptTokens: number | undefined;
  #completionTokens: number | undefined;
  #cachedPromptTokens = 0;
  #estimatedTokens = 0;

  constructor(job: RuntimeJob, who: string) {
    this.#job = job;
    this.#who = who;
  }

  read(event: EventSourceMessage): DeltaFrame | undefined {
    const chunk = eventObject(event, this.#who);
    if (event.event === "error" || (chunk["error"] !== undefined && chunk["error"] !== null)) {
      throw new MeshError("runtime_failed", `${this.#who} reported an error in the middle of its answer`);
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

  done(): StreamDone {
    return {
      type: "done",
      finishReason: this.finishReason,
      usage: {
        prompt_tokens: this.#promptTokens ?? estimateJobTokens(this.#job),
        completion_tokens: this.#completionTokens ?? this.#estimatedTokens,
        estimated: this.#promptTokens === undefined || this.#completionTokens === undefined,
      },
      cachedPromptTokens: this.#cachedPromptTokens,
    };
  }
}
