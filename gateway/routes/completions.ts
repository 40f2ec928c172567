import { readCompletionRequest } from "../openai/request.ts";
import { TextWriter, textCompletion } from "../openai/response.ts";
import { answerText } from "../answer-text.ts";
import type { RouteFactory } from "./route-def.ts";

/** OpenAI's older `POST /v1/completions`: what comes after a bare text, streamed or not. */
export const completionsRoute: RouteFactory = (parts) => ({
  method: "POST",
  path: "/v1/completions",
  handle: (request, reply) => {
    const call = readCompletionRequest(request.body, request.headers);
    const write = (...about: ConstructorParameters<typeof TextWriter>) => new TextWriter(...about);
    return answerText(parts, { call, whole: textCompletion, write }, request, reply);
  },
});
