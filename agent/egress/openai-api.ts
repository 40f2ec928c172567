import { MeshError } from "../../bus-schemas/index.ts";
import { readOpenAiAnswer } from "../runtimes/openai-answer.ts";
import type { ChatApi } from "./chat-api.ts";

/**
 * Finish reasons that are none: the answer is cut. DeepSeek: https://api-docs.deepseek.com/api/create-chat-completion;
 * OpenRouter: https://openrouter.ai/docs/api-reference/errors
 */
const NOT_FINISHED = new Set(["insufficient_system_resource", "error"]);

/**
 * OpenAI's chat completions, streaming (https://platform.openai.com/docs/api-reference/chat-streaming), which DeepSeek,
 * DashScope, Zhipu, Moonshot, OpenRouter and many others speak. Jobs are in this shape already: parameters, tools and
 * `response_format` go through as they are.
 */
export const openAiApi: ChatApi = {
  path: "/chat/completions",
  headers: (key) => ({ authorization: `Bearer ${key}` }),
  body({ messages, parameters }, { maxTokensField, upstream }) {
    const { max_tokens: maxTokens, ...rest } = parameters;
    return {
      ...rest,
      ...(maxTokens === undefined ? {} : { [maxTokensField]: maxTokens }),
      model: upstream,
      messages,
      stream: true,
      stream_options: { include_usage: true },
    };
  },
  async *read(body, job, options) {
    for await (const chunk of readOpenAiAnswer(body, job, options)) {
      if (chunk.type === "done" && NOT_FINISHED.has(chunk.finishReason ?? ""))
        throw new MeshError("runtime_failed", `${options.who} stopped its answer for want of resources`);
      yield chunk;
    }
  },
};
