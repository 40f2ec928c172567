import { readChatRequest } from "../openai/request.ts";
import { ChunkWriter, chatCompletion } from "../openai/response.ts";
import { answerText } from "../answer-text.ts";
import type { RouteFactory } from "./route-def.ts";

/** OpenAI's `POST /v1/chat/completions`, streamed or not. */
export const chatCompletionsRoute: RouteFactory = (parts) => ({
  method: "POST",
  path: "/v1/chat/completions",
  handle: (request, reply) => {
    const call = readChatRequest(request.body, request.headers);
    const write = (...about: ConstructorParameters<typeof ChunkWriter>) => new ChunkWriter(...about);
    return answerText(parts, { call, whole: chatCompletion, write }, request, reply);
  },
});
