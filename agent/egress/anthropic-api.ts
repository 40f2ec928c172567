import { MeshError, type DeltaFrame } from "../../bus-schemas/index.ts";
import { estimatePromptTokens, estimateTokens } from "../runtimes/estimate-tokens.ts";
import { eventObject, readEvents } from "../runtimes/event-stream.ts";
import type { StreamDone } from "../runtimes/openai-answer.ts";
import { asCount, asObject, asText } from "../runtimes/openai-chunk.ts";
import type { RuntimeJob } from "../runtimes/runtime.ts";
import { anthropicBody } from "./anthropic-request.ts";
import type { ChatApi } from "./chat-api.ts";

/** https://docs.anthropic.com/en/api/handling-stop-reasons → OpenAI's finish reasons; an unknown one goes through. */
const FINISH_REASONS: Readonly<Record<string, string>> = {
  end_turn: "stop",
  stop_sequence: "stop",
  pause_turn: "stop",
  max_tokens: "length",
  model_context_window_exceeded: "length",
  tool_use: "tool_calls",
  refusal: "content_filter",
};

/** Anthropic's messages API, streaming (https://docs.anthropic.com/en/api/messages-streaming), in and out of OpenAI's shape. */
export const anthropicApi: ChatApi = {
  path: "/v1/messages",
  headers: (key) => ({ "x-api-key": key, "anthropic-version": "2023-06-01" }),
  body: anthropicBody,
  async *read(body, job, options) {
    const message = new MessageStream(job, options.who);
    for await (const event of readEvents(body, options)) {
      const data = eventObject(event, options.who);
      const delta = message.read(data);
      if (delta !== undefined) yield delta;
      if (data["type"] === "message_stop") break;
    }
    if (message.finishReason === null) throw new MeshError("runtime_failed", `${options.who}'s answer broke off`);
    yield message.done();
  },
};

/** What the events of one message have amounted to so far. */
class MessageStream {
  finishReason: string | null = null;
  readonly #job: RuntimeJob;
  readonly #who: string;
  /** Content block → place among the tool calls, and whether arguments came. */
  readonly #toolCalls = new Map<unknown, { index: number; argued: boolean }>();
  #usage: Record<string, unknown> = {};
  #estimatedTokens = 0;

  constructor(job: RuntimeJob, who: string) {
    this.#job = job;
    this.#who = who;
  }

  /** Event types that are not known (and `ping`) are passed over, as the API's versioning asks. */
  read(event: Record<string, unknown>): DeltaFrame | undefined {
    switch (event["type"]) {
      case "message_start":
        this.#count(asObject(event["message"])?.["usage"]);
        return undefined;
      case "content_block_start":
        return this.#startBlock(event["index"], asObject(event["content_block"]) ?? {});
      case "content_block_delta":
        return this.#delta(event["index"], asObject(event["delta"]) ?? {});
      case "content_block_stop":
        return this.#stopBlock(event["index"]);
      case "message_delta": {
        const reason = asText(asObject(event["delta"])?.["stop_reason"]);
        if (reason !== undefined) this.finishReason = (FINISH_REASONS[reason] ?? reason).slice(0, 40);
        this.#count(event["usage"]);
        return undefined;
      }
      case "error": {
        const busy = asText(asObject(event["error"])?.["type"]) === "overloaded_error";
        const what = busy ? "became overloaded" : "reported an error";
        throw new MeshError(busy ? "all_busy" : "runtime_failed", `${this.#who} ${what} in the middle of its answer`);
      }
      default:
        return undefined;
    }
  }

  done(): StreamDone {
    const [input, output] = [asCount(this.#usage["input_tokens"]), asCount(this.#usage["output_tokens"])];
    const cached = asCount(this.#usage["cache_read_input_tokens"]) ?? 0;
    const written = asCount(this.#usage["cache_creation_input_tokens"]) ?? 0;
    return {
      type: "done",
      finishReason: this.finishReason,
      usage: {
        // `input_tokens` leaves out what the cache had or took.
        prompt_tokens: input === undefined ? estimatePromptTokens(this.#job.messages) : input + cached + written,
        completion_tokens: output ?? this.#estimatedTokens,
        estimated: input === undefined || output === undefined,
      },
      cachedPromptTokens: cached,
    };
  }

  #startBlock(block: unknown, { type, id, name, text }: Record<string, unknown>): DeltaFrame | undefined {
    if (type === "text") return this.#text("content", text);
    if (type !== "tool_use") return undefined;
    const index = this.#toolCalls.size;
    this.#toolCalls.set(block, { index, argued: false });
    const call = { index, id: asText(id) ?? "", type: "function" };
    return { type: "delta", tool_calls: [{ ...call, function: { name: asText(name) ?? "", arguments: "" } }] };
  }

  #delta(block: unknown, delta: Record<string, unknown>): DeltaFrame | undefined {
    if (delta["type"] === "text_delta") return this.#text("content", delta["text"]);
    if (delta["type"] === "thinking_delta") return this.#text("reasoning", delta["thinking"]);
    const call = this.#toolCalls.get(block);
    const json = asText(delta["partial_json"]);
    if (delta["type"] !== "input_json_delta" || call === undefined || json === undefined) return undefined;
    call.argued = true;
    return this.#arguments(call.index, json);
  }

  /** A tool without arguments sends none; OpenAI's callers parse them, so they get an empty object. */
  #stopBlock(block: unknown): DeltaFrame | undefined {
    const call = this.#toolCalls.get(block);
    return call === undefined || call.argued ? undefined : this.#arguments(call.index, "{}");
  }

  #arguments(index: number, json: string): DeltaFrame {
    this.#estimatedTokens += estimateTokens(json);
    return { type: "delta", tool_calls: [{ index, function: { arguments: json } }] };
  }

  #text(field: "content" | "reasoning", value: unknown): DeltaFrame | undefined {
    const text = asText(value);
    if (text === undefined) return undefined;
    this.#estimatedTokens += estimateTokens(text);
    return { type: "delta", [field]: text };
  }

  /** The counts of `message_delta` are cumulative. */
  #count(usage: unknown): void {
    for (const [name, value] of Object.entries(asObject(usage) ?? {}))
      if (asCount(value) !== undefined) this.#usage[name] = value;
  }
}
