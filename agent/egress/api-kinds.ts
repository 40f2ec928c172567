/** The shapes of cloud APIs that are spoken (chat-api.ts has the code of each). */
export const API_KINDS = ["openai", "anthropic"] as const;
export type ApiKind = (typeof API_KINDS)[number];
