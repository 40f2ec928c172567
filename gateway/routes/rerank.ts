import { readRerankRequest, rerankList } from "../openai/texts.ts";
import { answerWhole } from "../answer-text.ts";
import type { RouteFactory } from "./route-def.ts";

/** Jina's and Cohere's `POST /v1/rerank`. */
export const rerankRoute: RouteFactory = (parts) => ({
  method: "POST",
  path: "/v1/rerank",
  handle: (request, reply) => {
    const call = readRerankRequest(request.body, request.headers);
    const signal = parts.exchanges.open(reply.raw);
    return answerWhole(parts, call, reply, signal, (result) => rerankList(result, call));
  },
});
