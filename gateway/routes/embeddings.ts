import { embeddingList, readEmbeddingRequest } from "../openai/texts.ts";
import { answerWhole } from "../answer-text.ts";
import type { RouteFactory } from "./route-def.ts";

/** OpenAI's `POST /v1/embeddings`. */
export const embeddingsRoute: RouteFactory = (parts) => ({
  method: "POST",
  path: "/v1/embeddings",
  handle: (request, reply) => {
    const call = readEmbeddingRequest(request.body, request.headers);
    const signal = parts.exchanges.open(reply.raw);
    return answerWhole(parts, call, reply, signal, (result) => embeddingList(result, call.base64));
  },
});
