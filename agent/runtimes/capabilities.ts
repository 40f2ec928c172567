/**
 * What a model can do, in the mesh's words: `text`, `chat`, `code`, `reasoning`, `multilingual`, `analysis` (as in SEED's model
 * registry), `vision`, `audio`, `tools`, `completion` (goes on with a bare text), `embedding`, `rerank`. Facts from the runtime come first; where it gives none, the name is read.
 */

/**
 * What runtimes call it → what we call it. Ollama: /api/show; LM Studio: /api/v0/models and /api/v1/models; llama-server:
 * /v1/models; Xinference: `model_type` and `model_ability` of /v1/models.
 */
const FACTS: Readonly<Record<string, readonly string[]>> = {
  completion: ["text", "chat"],
  chat: ["text", "chat"],
  generate: ["completion"],
  vision: ["vision"],
  image: ["vision"],
  audio: ["audio"],
  tools: ["tools"],
  tool_use: ["tools"],
  thinking: ["reasoning"],
  reasoning: ["reasoning"],
  embedding: ["embedding"],
  embeddings: ["embedding"],
  rerank: ["rerank"],
  llm: ["text", "chat"],
  vlm: ["text", "chat", "vision"],
};

/** Reranking and embedding models, which cannot chat; in this order, since `bge-reranker` is the former. */
const RERANK_NAME = /rerank/i;
const EMBEDDING_NAME = /embed|(^|[/_-])(bge|gte|e5|minilm)([-_.]|$)/i;

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
  if (!found.has("chat")) {
    // With `completion` alone it is a base model: it goes on with a text and knows no turns.
    const told = ["embedding", "rerank", "completion"].filter((word) => found.has(word));
    if (told.length > 0) return told;
    if (RERANK_NAME.test(name)) return ["rerank"];
    if (EMBEDDING_NAME.test(name)) return ["embedding"];
  }
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
