import { z } from "zod";
import { parseOrThrow } from "../../bus-schemas/index.ts";
import type { ChatTurn, GenerateRequest } from "./generator.ts";

/** OpenAI's `developer` is its newer name of `system`. Tool turns need a model that can use tools; this one cannot. */
const ROLES = { system: "system", developer: "system", user: "user", assistant: "assistant" } as const;

const TextPart = z.object({
  type: z.literal("text", "only text parts; this model sees no images or sound"),
  text: z.string(),
});

const Message = z.object({
  role: z.enum(
    ["system", "developer", "user", "assistant"],
    "system, developer, user or assistant; this model takes no tool turns",
  ),
  content: z.union([z.string(), z.array(TextPart)], "a text, or a list of text parts"),
});

const MaxTokens = z.number().int().min(1).max(1_000_000).nullish();
const StopText = z.string().min(1).max(200);

/** What OpenAI's API offers beyond this server is refused when it would change the answer, and ignored otherwise. */
const ChatRequest = z.object({
  model: z.string().max(200).optional(),
  messages: z.array(Message).min(1).max(10_000),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  max_tokens: MaxTokens,
  max_completion_tokens: MaxTokens,
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  seed: z.number().int().nullish(),
  stop: z.union([StopText, z.array(StopText).max(16)], "a text or up to 16 texts, none empty").nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  n: z.literal(1, "this server writes one answer a request").nullish(),
  tools: z.array(z.unknown()).max(0, "this model cannot use tools").nullish(),
  logprobs: z.literal(false, "this server gives no logprobs").nullish(),
  response_format: z.object({ type: z.literal("text", "this server only writes text") }).nullish(),
});

export interface ParsedChat {
  model: string | undefined;
  stream: boolean;
  includeUsage: boolean;
  generate: GenerateRequest;
}

/** Longest answer where the caller sets no limit, tokens: a very small model can fall into a loop that only a limit ends. */
const DEFAULT_MAX_TOKENS = 512;

/** Sampling where the caller says nothing, from SmolLM2's model card. */
const DEFAULT_SAMPLING = { temperature: 0.2, topP: 0.9 };

/**
 * Reads the body of `POST /v1/chat/completions`.
 * @throws MeshError `bad_request` naming the field; it never quotes a value
 */
export function parseChatRequest(body: unknown): ParsedChat {
  const chat = parseOrThrow(ChatRequest, body);
  const stop = chat.stop ?? [];
  return {
    model: chat.model,
    stream: chat.stream ?? false,
    includeUsage: chat.stream_options?.include_usage ?? false,
    generate: {
      turns: chat.messages.map(turnOf),
      maxTokens: chat.max_completion_tokens ?? chat.max_tokens ?? DEFAULT_MAX_TOKENS,
      temperature: chat.temperature ?? DEFAULT_SAMPLING.temperature,
      topP: chat.top_p ?? DEFAULT_SAMPLING.topP,
      seed: chat.seed ?? undefined,
      stop: typeof stop === "string" ? [stop] : stop,
      frequencyPenalty: chat.frequency_penalty ?? 0,
      presencePenalty: chat.presence_penalty ?? 0,
    },
  };
}

function turnOf(message: z.infer<typeof Message>): ChatTurn {
  const { content } = message;
  return {
    role: ROLES[message.role],
    text: typeof content === "string" ? content : content.map((part) => part.text).join(""),
  };
}
