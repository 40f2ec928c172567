import type { RuntimeKind } from "./kind.ts";
import { llamaServer } from "./llama-server.ts";
import { lmStudio } from "./lm-studio.ts";
import { mlxServer } from "./mlx-server.ts";
import { ollama } from "./ollama.ts";
import { openAiCompatible } from "./openai-compatible.ts";
import { sglang } from "./sglang.ts";
import { vllm } from "./vllm.ts";
import { xinference } from "./xinference.ts";

/** Every kind of runtime that is looked for, the most specific first. Adding one: one new file, one line here. */
export const KINDS: readonly RuntimeKind[] = [
  ollama,
  llamaServer,
  lmStudio,
  vllm,
  sglang,
  xinference,
  mlxServer,
  openAiCompatible,
];
