import type { ChatMessage, EmbeddingInput, TaskInput } from "../../bus-schemas/index.ts";

/**
 * Rough count of tokens: four characters of Latin text, or one of any other script, make one. Within about 30 % for today's
 * tokenizers; used only where a runtime gives no counts, and marked `estimated` there.
 */
export function estimateTokens(text: string): number {
  let narrow = 0;
  let wide = 0;
  for (const char of text) {
    if ((char.codePointAt(0) ?? 0) < 0x2e80) narrow += 1;
    else wide += 1;
  }
  return Math.ceil(narrow / 4) + wide;
}

/** Rough count of the prompt tokens of a job of any task. */
export function estimateJobTokens({
  messages,
  input,
}: {
  messages: readonly ChatMessage[];
  input?: TaskInput;
}): number {
  if (input === undefined) return estimatePromptTokens(messages);
  if (input.task === "completion") return estimateTokens(input.prompt) + estimateTokens(input.suffix ?? "");
  if (input.task === "embedding") return estimateEmbeddingTokens(input.input);
  // A reranker reads the query with each document.
  const query = estimateTokens(input.query);
  return input.documents.reduce((sum, document) => sum + query + estimateTokens(document), 0);
}

/** Token ids are counted as they are. */
function estimateEmbeddingTokens(input: EmbeddingInput): number {
  if (typeof input === "string") return estimateTokens(input);
  let tokens = 0;
  for (const each of input)
    tokens += typeof each === "string" ? estimateTokens(each) : typeof each === "number" ? 1 : each.length;
  return tokens;
}

/** Rough count of a chat's prompt tokens: its texts and four per message for the template. Images are not counted. */
export function estimatePromptTokens(messages: readonly ChatMessage[]): number {
  let tokens = 0;
  for (const message of messages) {
    tokens += 4;
    if (typeof message.content === "string") tokens += estimateTokens(message.content);
    for (const part of Array.isArray(message.content) ? message.content : []) {
      if (typeof part["text"] === "string") tokens += estimateTokens(part["text"]);
    }
  }
  return tokens;
}
