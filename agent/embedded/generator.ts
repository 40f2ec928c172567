/** One turn of a conversation, as text. */
export interface ChatTurn {
  role: "system" | "user" | "assistant";
  text: string;
}

export interface GenerateRequest {
  /** Oldest first. A last one of the assistant's is continued. */
  turns: readonly ChatTurn[];
  /** At most this many; fewer when the context is full before. */
  maxTokens: number;
  temperature: number;
  topP: number;
  seed: number | undefined;
  stop: readonly string[];
  frequencyPenalty: number;
  presencePenalty: number;
}

/** Pieces of an answer, then exactly one `done` with real token counts. */
export type GeneratedPiece =
  | { type: "text"; text: string }
  | {
      type: "done";
      finishReason: "stop" | "length";
      promptTokens: number;
      /** Part of the prompt that was still in the KV cache. */
      cachedTokens: number;
      completionTokens: number;
    };

/** What writes answers. The HTTP server knows only this, so its tests need no model. */
export interface Generator {
  readonly model: string;
  /** Prompt and answer together. */
  readonly contextTokens: number;
  /** Answers that it can write at once; the caller asks for no more. */
  readonly parallelSlots: number;
  /**
   * Writes one answer. Ends early, throwing the signal's reason, when `signal` aborts.
   * @throws ContextOverflowError before the first piece
   */
  generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GeneratedPiece>;
  close(): Promise<void>;
}

/** The prompt leaves no room for an answer. */
export class ContextOverflowError extends Error {
  override readonly name = "ContextOverflowError";
  constructor(promptTokens: number, contextTokens: number) {
    super(
      `the prompt has ${String(promptTokens)} tokens; this model's context holds ${String(contextTokens)} for prompt and answer`,
    );
  }
}
