import type { DeltaFrame } from "../../bus-schemas/index.ts";

/** What one event of an OpenAI chat stream says. */
export interface ChunkParts {
  delta: DeltaFrame | undefined;
  finishReason: string | undefined;
  promptTokens: number | undefined;
  completionTokens: number | undefined;
  /** Prompt tokens that came from the prefix cache. */
  cachedPromptTokens: number | undefined;
}

export function asObject(value: unknown): Record<string, unknown> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

export function asArray(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

/** The objects of a list; whatever else is in it is left out. */
export function asObjects(value: unknown): Record<string, unknown>[] {
  return asArray(value).flatMap((entry) => {
    const object = asObject(entry);
    return object === undefined ? [] : [object];
  });
}

/** A whole number from 0 to 100 million (the bus's bound on tokens), else undefined. */
export function asCount(value: unknown): number | undefined {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 100_000_000 ? value : undefined;
}

export function asText(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/**
 * Reads one `chat.completion.chunk`, or of a bare completion one `text_completion`, whose piece is `text`. Only the first choice counts (a job asks for one). Reasoning is `reasoning_content`
 * (vLLM, llama-server, LM Studio, DeepSeek) or `reasoning` (Ollama, newer LM Studio and vLLM).
 */
export function readChunk(chunk: Record<string, unknown>): ChunkParts {
  const choice = asObject(asArray(chunk["choices"])[0]);
  const delta = asObject(choice?.["delta"]);
  const usage = asObject(chunk["usage"]);
  return {
    delta: delta === undefined ? readText(choice?.["text"]) : readDelta(delta),
    finishReason: asText(choice?.["finish_reason"])?.slice(0, 40),
    promptTokens: asCount(usage?.["prompt_tokens"]),
    completionTokens: asCount(usage?.["completion_tokens"]),
    // The second is DeepSeek's: https://api-docs.deepseek.com/guides/kv_cache
    cachedPromptTokens:
      asCount(asObject(usage?.["prompt_tokens_details"])?.["cached_tokens"]) ??
      asCount(usage?.["prompt_cache_hit_tokens"]),
  };
}

function readText(text: unknown): DeltaFrame | undefined {
  const content = asText(text);
  return content === undefined ? undefined : { type: "delta", content };
}

function readDelta(delta: Record<string, unknown>): DeltaFrame | undefined {
  const content = asText(delta["content"]);
  const reasoning = asText(delta["reasoning_content"]) ?? asText(delta["reasoning"]);
  // Some servers leave out the index of a call; its place in the list is what the others send.
  const toolCalls = asArray(delta["tool_calls"]).flatMap((call, place) => {
    const object = asObject(call);
    return object === undefined ? [] : [{ ...object, index: asCount(object["index"]) ?? place }];
  });
  if (content === undefined && reasoning === undefined && toolCalls.length === 0) return undefined;
  return {
    type: "delta",
    ...(content === undefined ? {} : { content }),
    ...(reasoning === undefined ? {} : { reasoning }),
    ...(toolCalls.length === 0 ? {} : { tool_calls: toolCalls }),
  };
}
