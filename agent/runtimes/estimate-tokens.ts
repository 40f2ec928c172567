import type { ChatMessage } from "../../bus-schemas/index.ts";

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
