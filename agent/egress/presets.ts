import type { ApiKind } from "./api-kinds.ts";

/** What is known of a provider, so that a file need not say it. Each line is from the provider's own documentation. */
export interface Preset {
  kind: ApiKind;
  /** `/chat/completions` (openai) or `/v1/messages` (anthropic) is put after it. */
  baseUrl: string;
  /** The variable its own examples read the key from. */
  keyEnv: string;
  /** What it calls the bound of an answer's tokens, where that is not `max_tokens`. */
  maxTokensField?: "max_completion_tokens";
  /** Where it works on what this address is sent, only where its documentation says so. */
  jurisdiction?: string;
}

/** Adding a provider is one entry here; one that is not here needs `kind` and `base_url` in the file. */
export const PRESETS = {
  // https://platform.openai.com/docs/api-reference/chat/create: `max_tokens` is deprecated, and refused by reasoning models.
  openai: {
    kind: "openai",
    baseUrl: "https://api.openai.com/v1",
    keyEnv: "OPENAI_API_KEY",
    maxTokensField: "max_completion_tokens",
  },
  // https://docs.anthropic.com/en/api/messages
  anthropic: { kind: "anthropic", baseUrl: "https://api.anthropic.com", keyEnv: "ANTHROPIC_API_KEY" },
  // https://api-docs.deepseek.com/
  deepseek: { kind: "openai", baseUrl: "https://api.deepseek.com", keyEnv: "DEEPSEEK_API_KEY" },
  // https://help.aliyun.com/zh/model-studio/compatibility-of-openai-with-dashscope; this address is the one of China (Beijing), where
  // inference and storage stay in the Chinese mainland: https://www.alibabacloud.com/help/en/model-studio/regions
  dashscope: {
    kind: "openai",
    baseUrl: "https://dashscope.aliyuncs.com/compatible-mode/v1",
    keyEnv: "DASHSCOPE_API_KEY",
    jurisdiction: "CN",
  },
  // https://docs.bigmodel.cn/cn/guide/develop/openai/introduction
  zhipu: { kind: "openai", baseUrl: "https://open.bigmodel.cn/api/paas/v4", keyEnv: "ZHIPU_API_KEY" },
  // https://platform.moonshot.cn/docs/api/chat (mainland); https://api.moonshot.ai/v1 is the same service abroad
  moonshot: { kind: "openai", baseUrl: "https://api.moonshot.cn/v1", keyEnv: "MOONSHOT_API_KEY" },
  // https://openrouter.ai/docs/quickstart
  openrouter: { kind: "openai", baseUrl: "https://openrouter.ai/api/v1", keyEnv: "OPENROUTER_API_KEY" },
  // https://docs.siliconflow.cn/cn/api-reference/chat-completions/chat-completions
  siliconflow: { kind: "openai", baseUrl: "https://api.siliconflow.cn/v1", keyEnv: "SILICONFLOW_API_KEY" },
  // https://www.volcengine.com/docs/82379/1494384
  volcengine: { kind: "openai", baseUrl: "https://ark.cn-beijing.volces.com/api/v3", keyEnv: "ARK_API_KEY" },
  // https://docs.mistral.ai/api/
  mistral: { kind: "openai", baseUrl: "https://api.mistral.ai/v1", keyEnv: "MISTRAL_API_KEY" },
  // https://console.groq.com/docs/openai
  groq: { kind: "openai", baseUrl: "https://api.groq.com/openai/v1", keyEnv: "GROQ_API_KEY" },
} as const satisfies Record<string, Preset>;

export type PresetName = keyof typeof PRESETS;
export const PRESET_NAMES = Object.keys(PRESETS) as [PresetName, ...PresetName[]];
