import { join } from "node:path";
import { pathToFileURL } from "node:url";

/**
 * The part of node-llama-cpp 3.22.1 that the generator uses (its `dist/index.d.ts`). It is fetched on demand and thus no
 * dependency whose types could be imported.
 */
export interface LlamaBindings {
  getLlama(options: {
    gpu: "auto" | "cuda" | "vulkan" | "metal" | false;
    build: "never";
    skipDownload: true;
    progressLogs: false;
    maxThreads?: number;
    logger: (level: string, message: string) => void;
  }): Promise<Llama>;
  resolveChatWrapper(model: LlamaModel): ChatWrapper;
  LlamaChat: new (options: { contextSequence: LlamaSequence; chatWrapper: ChatWrapper }) => LlamaChat;
}

export interface Llama {
  loadModel(options: { modelPath: string }): Promise<LlamaModel>;
  dispose(): Promise<void>;
}

/** A token's number; node-llama-cpp brands it. */
export type LlamaToken = number & { readonly __token: never };

export interface LlamaModel {
  readonly tokenizer: unknown;
  readonly trainContextSize: number;
  createContext(options: { contextSize: number; sequences: number; threads?: number }): Promise<LlamaContext>;
}

export interface LlamaContext {
  /** Of each sequence, tokens; may be padded above what was asked for. */
  readonly contextSize: number;
  getSequence(): LlamaSequence;
}

/** One conversation's place in the KV cache. */
export interface LlamaSequence {
  readonly nextTokenIndex: number;
  compareContextTokens(tokens: LlamaToken[]): { firstDifferentIndex: number };
  adaptStateToTokens(tokens: LlamaToken[], allowShift: boolean): Promise<void>;
  evaluateWithoutGeneratingNewTokens(tokens: LlamaToken[]): Promise<void>;
}

export type LlamaHistoryItem = { type: "system" | "user"; text: string } | { type: "model"; response: string[] };

export interface ChatWrapper {
  generateContextState(options: { chatHistory: LlamaHistoryItem[] }): {
    contextText: { tokenize(tokenizer: unknown): LlamaToken[] };
  };
}

export interface LlamaChat {
  generateResponse(
    history: LlamaHistoryItem[],
    options: {
      onTextChunk: (text: string) => void;
      onToken: (tokens: LlamaToken[]) => void;
      signal: AbortSignal;
      maxTokens: number;
      temperature: number;
      topP: number;
      seed?: number;
      customStopTriggers: readonly string[];
      repeatPenalty: false | { penalty: 1; frequencyPenalty: number; presencePenalty: number };
      contextShift: { size: number };
    },
  ): Promise<{ metadata: { stopReason: string } }>;
  dispose(): void;
}

/** Loads node-llama-cpp from the folder where `ensureLlamaPackage` put it. */
export async function loadLlamaBindings(packageDir: string): Promise<LlamaBindings> {
  const entry = join(packageDir, "node_modules", "node-llama-cpp", "dist", "index.js");
  return (await import(pathToFileURL(entry).href)) as LlamaBindings;
}
