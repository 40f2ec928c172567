import { anthropicApi } from "./anthropic-api.ts";
import type { ApiKind } from "./api-kinds.ts";
import type { ChatApi } from "./chat-api.ts";
import { openAiApi } from "./openai-api.ts";

/** Every shape of cloud API. Adding one: one new file, one name in API_KINDS, one line here. */
export const APIS: Readonly<Record<ApiKind, ChatApi>> = {
  openai: openAiApi,
  anthropic: anthropicApi,
};
