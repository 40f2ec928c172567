import {
  ContextOverflowError,
  type ChatTurn,
  type GeneratedPiece,
  type GenerateRequest,
  type Generator,
} from "./generator.ts";
import type {
  ChatWrapper,
  LlamaBindings,
  LlamaHistoryItem,
  LlamaModel,
  LlamaSequence,
  LlamaToken,
} from "./llama-bindings.ts";
import type { LlamaAccelerator } from "./llama-binaries.ts";
import { PieceQueue } from "./piece-queue.ts";

export interface LlamaGeneratorOptions {
  bindings: LlamaBindings;
  modelPath: string;
  /** Name to serve it under. */
  model: string;
  /** For chats that begin with no system turn. */
  systemPrompt?: string;
  accelerator: LlamaAccelerator;
  /** CPU threads; undefined lets node-llama-cpp choose. */
  threads?: number;
  parallelSlots: number;
  /** Wanted context of each slot; never more than the model was trained for. */
  contextTokens: number;
  onLog: (level: string, message: string) => void;
}

/** Prompt tokens computed between two looks at the abort signal: a canceled job frees the processor soon. */
const PREFILL_CHUNK_TOKENS = 64;

/** Kept free in the context: node-llama-cpp would otherwise silently drop the oldest turns to make room. */
const RESERVE_TOKENS = 16;

/** Loads the model. Answers are written by llama.cpp through the model's own chat template. */
export async function createLlamaGenerator(options: LlamaGeneratorOptions): Promise<Generator> {
  const { bindings, threads } = options;
  const llama = await bindings.getLlama({
    gpu: options.accelerator === "cpu" ? false : options.accelerator,
    build: "never",
    skipDownload: true,
    progressLogs: false,
    ...(threads === undefined ? {} : { maxThreads: threads }),
    logger: options.onLog,
  });
  const model = await llama.loadModel({ modelPath: options.modelPath });
  const context = await model.createContext({
    contextSize: Math.min(options.contextTokens, model.trainContextSize),
    sequences: options.parallelSlots,
    ...(threads === undefined ? {} : { threads }),
  });
  const parts = {
    bindings,
    llamaModel: model,
    // A specialised wrapper where it renders the same as the model's template, else the template itself.
    wrapper: bindings.resolveChatWrapper(model),
    sequences: Array.from({ length: options.parallelSlots }, () => context.getSequence()),
    contextTokens: context.contextSize,
    systemPrompt: options.systemPrompt,
  };
  return new LlamaGenerator(options.model, parts, () => llama.dispose());
}

interface Parts {
  bindings: LlamaBindings;
  llamaModel: LlamaModel;
  wrapper: ChatWrapper;
  sequences: LlamaSequence[];
  contextTokens: number;
  systemPrompt: string | undefined;
}

class LlamaGenerator implements Generator {
  readonly model: string;
  readonly contextTokens: number;
  readonly parallelSlots: number;
  readonly close: () => Promise<void>;
  readonly #parts: Parts;
  readonly #free: LlamaSequence[];

  constructor(model: string, parts: Parts, close: () => Promise<void>) {
    this.model = model;
    this.contextTokens = parts.contextTokens;
    this.parallelSlots = parts.sequences.length;
    this.close = close;
    this.#parts = parts;
    this.#free = [...parts.sequences];
  }

  async *generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GeneratedPiece> {
    const { wrapper, llamaModel, systemPrompt } = this.#parts;
    const history = historyOf(request.turns, systemPrompt);
    const prompt = wrapper.generateContextState({ chatHistory: history }).contextText.tokenize(llamaModel.tokenizer);
    const roomTokens = this.contextTokens - RESERVE_TOKENS - prompt.length;
    if (roomTokens < 1) throw new ContextOverflowError(prompt.length, this.contextTokens - RESERVE_TOKENS);

    const { sequence, cachedTokens } = this.#take(prompt);
    try {
      await prefill(sequence, prompt, signal);
      let completionTokens = 0;
      const queue = new PieceQueue<GeneratedPiece>();
      const work = this.#respond(sequence, history, request, roomTokens, queue, signal, (tokens) => {
        completionTokens += tokens;
      }).then(
        (finishReason) => {
          queue.push({ type: "done", finishReason, promptTokens: prompt.length, cachedTokens, completionTokens });
          queue.end();
        },
        (error: unknown) => queue.fail(error),
      );
      yield* queue;
      await work;
    } finally {
      this.#free.push(sequence);
    }
  }

  /** Of the free sequences the one whose cache begins most like this prompt: a conversation finds its own again. */
  #take(prompt: LlamaToken[]): { sequence: LlamaSequence; cachedTokens: number } {
    const ranked = this.#free
      .map((sequence) => ({ sequence, cachedTokens: sequence.compareContextTokens(prompt).firstDifferentIndex }))
      .sort((a, b) => b.cachedTokens - a.cachedTokens);
    const best = ranked[0];
    if (best === undefined) throw new Error("no free sequence: the caller asked for more than parallelSlots");
    this.#free.splice(this.#free.indexOf(best.sequence), 1);
    // At least the last token is always computed: its output is the first new token.
    return { sequence: best.sequence, cachedTokens: Math.min(best.cachedTokens, prompt.length - 1) };
  }

  async #respond(
    sequence: LlamaSequence,
    history: LlamaHistoryItem[],
    request: GenerateRequest,
    roomTokens: number,
    queue: PieceQueue<GeneratedPiece>,
    signal: AbortSignal,
    onTokens: (count: number) => void,
  ): Promise<"stop" | "length"> {
    const { frequencyPenalty, presencePenalty } = request;
    const chat = new this.#parts.bindings.LlamaChat({ contextSequence: sequence, chatWrapper: this.#parts.wrapper });
    try {
      const { metadata } = await chat.generateResponse(history, {
        onTextChunk: (text) => {
          if (text !== "") queue.push({ type: "text", text });
        },
        onToken: (tokens) => onTokens(tokens.length),
        signal,
        maxTokens: Math.min(request.maxTokens, roomTokens),
        temperature: request.temperature,
        topP: request.topP,
        ...(request.seed === undefined ? {} : { seed: request.seed }),
        customStopTriggers: request.stop,
        // 1 switches its own penalty off: an OpenAI caller asked for none.
        repeatPenalty:
          frequencyPenalty === 0 && presencePenalty === 0 ? false : { penalty: 1, frequencyPenalty, presencePenalty },
        contextShift: { size: RESERVE_TOKENS / 2 },
      });
      return metadata.stopReason === "maxTokens" ? "length" : "stop";
    } finally {
      chat.dispose();
    }
  }
}

/** Computes the prompt into the sequence in small steps; `generateResponse` would do it in one that nothing interrupts. */
async function prefill(sequence: LlamaSequence, prompt: LlamaToken[], signal: AbortSignal): Promise<void> {
  const known = prompt.slice(0, -1);
  await sequence.adaptStateToTokens(known, false);
  for (let start = sequence.nextTokenIndex; start < known.length; start += PREFILL_CHUNK_TOKENS) {
    signal.throwIfAborted();
    await sequence.evaluateWithoutGeneratingNewTokens(known.slice(start, start + PREFILL_CHUNK_TOKENS));
  }
}

/** An answer already begun by the caller (a last turn of the assistant's) is continued. */
function historyOf(turns: readonly ChatTurn[], systemPrompt: string | undefined): LlamaHistoryItem[] {
  const history = turns.map(({ role, text }): LlamaHistoryItem =>
    role === "assistant" ? { type: "model", response: [text] } : { type: role, text },
  );
  if (systemPrompt !== undefined && history[0]?.type !== "system")
    history.unshift({ type: "system", text: systemPrompt });
  if (history.at(-1)?.type !== "model") history.push({ type: "model", response: [""] });
  return history;
}
