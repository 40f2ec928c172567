/**
 * What a model can do, in the mesh's words: `text`, `chat`, `code`, `reasoning`, `multilingual`, `analysis` (as in SEED's model
 * registry), `vision`, `audio`, `tools`, `embedding`. Facts from the runtime come first; where it gives none, the name is read.
 */

/** What runtimes call it → what we call it. Ollama: /api/show; LM Studio: /api/v0/models; llama-server: /v1/models. */
const FACTS: Readonly<Record<string, readonly string[]>> = {
  completion: ["text", "chat"],
  vision: ["vision"],
  image: ["vision"],
  audio: ["audio"],
  tools: ["tools"],
  tool_use: ["tools"],
  thinking: ["reasoning"],
  embedding: ["embedding"],
  embeddings: ["embedding"],
  llm: ["text", "chat"],
  vlm: ["text", "chat", "vision"],
};

/** Embedding and reranking models, which cannot chat. */
const EMBEDDING_NAME = /embed|rerank|(^|[/_-])(bge|gte|e5|minilm)([-_.]|$)/i;

/** Names of model families that carry a capability, by their makers' own model cards. */
const NAMES: readonly (readonly [RegExp, string])[] = [
  [/coder|code[-_]?(llama|gemma|qwen|stral)|codestral|devstral|starcoder|(^|[/_-])code([-_.:]|$)/i, "code"],
  [/(^|[^a-z])vl([^a-z]|$)|vision|llava|pixtral|minicpm-?v|moondream|(^|[/_-])qwen[\d.]*-?vl/i, "vision"],
  [/(^|[/_.-])r1([-_.:]|$)|qwq|think|reason|gpt-?oss|magistral/i, "reasoning"],
  [
    /qwen|gemma-?[34]|llama-?[34]|mistral|mixtral|aya|glm|deepseek|gpt-?oss|granite|phi-?4|command-?r|yi-/i,
    "multilingual",
  ],
];

/**
 * @param name the model's name as its runtime spells it
 * @param facts what the runtime says it can do, in the runtime's words; empty = it says nothing
 */
export function capabilitiesOf(name: string, facts: readonly string[] = []): string[] {
  const found = new Set(facts.flatMap((fact) => FACTS[fact.toLowerCase()] ?? []));
  if (found.has("embedding") && !found.has("chat")) return ["embedding"];
  if (!found.has("chat") && EMBEDDING_NAME.test(name)) return ["embedding"];
  found.add("text").add("chat");
  for (const [pattern, capability] of NAMES) {
    // A runtime that says anything says whether the model sees; a vision model loaded without its projector does not.
    if (capability === "vision" && facts.length > 0) continue;
    if (pattern.test(name)) found.add(capability);
  }
  // SEED's registry gives "analysis" to models that reason.
  if (found.has("reasoning")) found.add("analysis");
  return [...found];
}
