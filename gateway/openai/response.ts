import type { DeltaFrame, JobResult, StreamFrame, ToolCall, Usage } from "../../bus-schemas/index.ts";

type Accepted = Extract<StreamFrame, { type: "accepted" }>;

const FINISH_REASONS = new Set(["stop", "length", "tool_calls", "content_filter", "function_call"]);

/** One of OpenAI's finish reasons: runtimes have others, and some say `stop` after a tool call. */
function finishReason(said: string | null, calledTools: boolean): string {
  if (calledTools && (said === null || said === "stop")) return "tool_calls";
  return said !== null && FINISH_REASONS.has(said) ? said : "stop";
}

function usageOf(usage: Usage) {
  const { prompt_tokens, completion_tokens } = usage;
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
}

export function completionId(jobId: string): string {
  return `chatcmpl-${jobId}`;
}

/** The body of a finished `chat.completion`. */
export function chatCompletion(result: JobResult, createdS: number): object {
  const calls = result.message?.tool_calls?.map((call, index): ToolCall =>
    call.id === "" ? { ...call, id: callId(result.job_id, index) } : call,
  );
  const called = calls !== undefined && calls.length > 0;
  return {
    id: completionId(result.job_id),
    object: "chat.completion",
    created: createdS,
    model: result.model ?? "unknown",
    choices: [
      {
        index: 0,
        message: {
          role: "assistant",
          content: result.message?.content ?? null,
          refusal: null,
          ...(called ? { tool_calls: calls } : {}),
        },
        logprobs: null,
        finish_reason: finishReason(result.finish_reason, called),
      },
    ],
    ...(result.usage === null ? {} : { usage: usageOf(result.usage) }),
  };
}

/** The body of a finished `text_completion`: OpenAI's older API, for what comes after a bare text. */
export function textCompletion(result: JobResult, createdS: number): object {
  return {
    id: textCompletionId(result.job_id),
    object: "text_completion",
    created: createdS,
    model: result.model ?? "unknown",
    choices: [
      {
        index: 0,
        text: result.message?.content ?? "",
        logprobs: null,
        finish_reason: finishReason(result.finish_reason, false),
      },
    ],
    ...(result.usage === null ? {} : { usage: usageOf(result.usage) }),
  };
}

function textCompletionId(jobId: string): string {
  return `cmpl-${jobId}`;
}

/** Some runtimes name no tool call; the SDK and every caller match the tool's answer by this id. */
function callId(jobId: string, index: number): string {
  return `call_${jobId}_${index}`;
}

/** Writes the events of one streamed answer, as text ready to send. */
export interface EventWriter {
  /** What comes before the first piece; empty where nothing does. */
  begin(): string;
  delta(frame: DeltaFrame): string;
  /** The last events of an answer that is complete. */
  finish(result: Pick<JobResult, "finish_reason" | "usage">): string;
}

/**
 * Writes the `chat.completion.chunk` events of one stream, as text ready to send. What all chunks share is written once:
 * a chunk costs one small JSON.stringify.
 */
export class ChunkWriter implements EventWriter {
  readonly #head: string;
  readonly #tail: string;
  readonly #jobId: string;
  readonly #includeUsage: boolean;
  readonly #namedCalls = new Set<number>();

  constructor(accepted: Pick<Accepted, "job_id" | "model">, createdS: number, includeUsage: boolean) {
    this.#jobId = accepted.job_id;
    this.#includeUsage = includeUsage;
    const id = JSON.stringify(completionId(accepted.job_id));
    this.#head = `data: {"id":${id},"object":"chat.completion.chunk","created":${createdS},"model":${JSON.stringify(accepted.model)},"choices":[`;
    // With include_usage every chunk but the last has `usage: null` (OpenAI API reference, stream_options).
    this.#tail = includeUsage ? `],"usage":null}\n\n` : "]}\n\n";
  }

  /** The first chunk: who speaks. */
  begin(): string {
    return this.#chunk({ role: "assistant", content: "", refusal: null }, null);
  }

  delta(frame: DeltaFrame): string {
    const delta: Record<string, unknown> = {};
    if (frame.content !== undefined) delta["content"] = frame.content;
    if (frame.reasoning !== undefined) delta["reasoning_content"] = frame.reasoning;
    if (frame.tool_calls !== undefined) delta["tool_calls"] = frame.tool_calls.map((call) => this.#toolCall(call));
    return this.#chunk(delta, null);
  }

  /** The last chunks of an answer that is complete. */
  finish(result: Pick<JobResult, "finish_reason" | "usage">): string {
    const last = this.#chunk({}, finishReason(result.finish_reason, this.#namedCalls.size > 0));
    const usage =
      this.#includeUsage && result.usage !== null
        ? `${this.#head}],"usage":${JSON.stringify(usageOf(result.usage))}}\n\n`
        : "";
    return `${last}${usage}data: [DONE]\n\n`;
  }

  #chunk(delta: object, finish: string | null): string {
    return `${this.#head}{"index":0,"delta":${JSON.stringify(delta)},"logprobs":null,"finish_reason":${JSON.stringify(finish)}}${this.#tail}`;
  }

  /** The first piece of each call carries its id and type, whatever the runtime left out. */
  #toolCall(call: { index: number; [key: string]: unknown }): object {
    if (this.#namedCalls.has(call.index)) return call;
    this.#namedCalls.add(call.index);
    const { id } = call;
    return {
      ...call,
      id: typeof id === "string" && id !== "" ? id : callId(this.#jobId, call.index),
      type: "function",
    };
  }
}

/** Writes the `text_completion` events of one stream; every chunk but the last has `usage: null`, as in a chat. */
export class TextWriter implements EventWriter {
  readonly #shared: object;
  readonly #includeUsage: boolean;

  constructor(accepted: Pick<Accepted, "job_id" | "model">, createdS: number, includeUsage: boolean) {
    this.#includeUsage = includeUsage;
    this.#shared = {
      id: textCompletionId(accepted.job_id),
      object: "text_completion",
      created: createdS,
      model: accepted.model,
    };
  }

  begin(): string {
    return "";
  }

  delta({ content }: DeltaFrame): string {
    return content === undefined ? "" : this.#event([this.#choice(content, null)], null);
  }

  finish({ finish_reason: reason, usage }: Pick<JobResult, "finish_reason" | "usage">): string {
    const last = this.#event([this.#choice("", finishReason(reason, false))], null);
    return `${last}${this.#includeUsage && usage !== null ? this.#event([], usageOf(usage)) : ""}data: [DONE]\n\n`;
  }

  #choice(text: string, finish: string | null): object {
    return { index: 0, text, logprobs: null, finish_reason: finish };
  }

  #event(choices: object[], usage: object | null): string {
    return `data: ${JSON.stringify({ ...this.#shared, choices, ...(this.#includeUsage ? { usage } : {}) })}\n\n`;
  }
}
