import { randomUUID } from "node:crypto";
import type { ServerResponse } from "node:http";
import type { ParsedChat } from "./chat-request.ts";
import type { GeneratedPiece, Generator } from "./generator.ts";

export interface ChatAnswer {
  chat: ParsedChat;
  generator: Generator;
  response: ServerResponse;
  /** Unix time, seconds. */
  createdS: number;
}

type Done = Extract<GeneratedPiece, { type: "done" }>;

/** Writes one answer in OpenAI's shape: server-sent `chat.completion.chunk`s with `stream`, else one `chat.completion`. */
export function answerChat(answer: ChatAnswer, signal: AbortSignal): Promise<void> {
  return answer.chat.stream ? streamed(answer, signal) : whole(answer, signal);
}

async function whole({ chat, generator, response, createdS }: ChatAnswer, signal: AbortSignal): Promise<void> {
  let text = "";
  let done: Done | undefined;
  for await (const piece of generator.generate(chat.generate, signal)) {
    if (piece.type === "text") text += piece.text;
    else done = piece;
  }
  const body = JSON.stringify({
    id: `chatcmpl-${randomUUID()}`,
    object: "chat.completion",
    created: createdS,
    model: generator.model,
    choices: [
      {
        index: 0,
        message: { role: "assistant", content: text },
        logprobs: null,
        finish_reason: done?.finishReason ?? null,
      },
    ],
    usage: done === undefined ? null : usageOf(done),
  });
  response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
  response.end(body);
}

async function streamed({ chat, generator, response, createdS }: ChatAnswer, signal: AbortSignal): Promise<void> {
  const common = {
    id: `chatcmpl-${randomUUID()}`,
    object: "chat.completion.chunk",
    created: createdS,
    model: generator.model,
    // With include_usage every chunk but the last has `usage: null`.
    ...(chat.includeUsage ? { usage: null } : {}),
  };
  const send = (delta: object, finishReason: string | null = null) =>
    sendEvent(response, { ...common, choices: [{ index: 0, delta, logprobs: null, finish_reason: finishReason }] });

  for await (const piece of generator.generate(chat.generate, signal)) {
    // Only now: an error before the first piece still gets a status of its own.
    if (!response.headersSent) {
      response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
      send({ role: "assistant", content: "" });
    }
    if (piece.type === "text") {
      send({ content: piece.text });
      continue;
    }
    send({}, piece.finishReason);
    if (chat.includeUsage) sendEvent(response, { ...common, choices: [], usage: usageOf(piece) });
  }
  response.end("data: [DONE]\n\n");
}

function sendEvent(response: ServerResponse, event: object): void {
  response.write(`data: ${JSON.stringify(event)}\n\n`);
}

function usageOf(done: Done): object {
  return {
    prompt_tokens: done.promptTokens,
    completion_tokens: done.completionTokens,
    total_tokens: done.promptTokens + done.completionTokens,
    prompt_tokens_details: { cached_tokens: done.cachedTokens },
  };
}
