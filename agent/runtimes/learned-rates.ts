import type { ServedModel } from "../../bus-schemas/index.ts";
import { movingAverage } from "../model/moving-average.ts";

/** Fewer prompt tokens say more about overheads than about prefill. */
const MIN_PROMPT_TOKENS = 16;
/** Fewer intervals between tokens are mostly noise. */
const MIN_INTERVALS = 4;
/** No model is read from disk faster than this, milliseconds. */
const MIN_LOAD_MS = 100;

interface Rates {
  prefillTokensPerSecond: number | null;
  msPerToken: number | null;
}

/** What one real answer showed. */
export interface ObservedAnswer {
  /** Without those from the prefix cache. */
  promptTokens: number;
  completionTokens: number;
  /** From the request to the first piece. */
  ttftMs: number;
  /** From the first piece to the last. */
  generationMs: number;
}

/** What one load of a model showed. */
export interface ObservedLoad {
  sizeGb: number;
  /** From the request to the first piece. */
  ttftMs: number;
  /** Without those from the prefix cache. */
  promptTokens: number;
}

/** How fast each model is here, learned from real answers as moving averages. A model that was being loaded must not be observed. */
export class LearnedRates {
  readonly #rates = new Map<string, Rates>();
  /** GB per second, by runtime. */
  readonly #loadRates = new Map<string, number>();

  observe(runtime: string, model: string, answer: ObservedAnswer): void {
    const key = `${runtime} ${model}`;
    const known = this.#rates.get(key) ?? { prefillTokensPerSecond: null, msPerToken: null };
    if (answer.promptTokens >= MIN_PROMPT_TOKENS && answer.ttftMs > 0) {
      // The bus's bound on a rate; a clock that stood still must not make one.
      const rate = Math.min(10_000_000, answer.promptTokens / (answer.ttftMs / 1000));
      known.prefillTokensPerSecond = movingAverage(known.prefillTokensPerSecond, rate);
    }
    const intervals = answer.completionTokens - 1;
    if (intervals >= MIN_INTERVALS && answer.generationMs > 0) {
      known.msPerToken = movingAverage(known.msPerToken, answer.generationMs / intervals);
    }
    this.#rates.set(key, known);
  }

  /** Learns from an answer whose model was not in memory: what its first token took beyond the reading of the prompt. */
  observeLoad(runtime: string, model: string, { sizeGb, ttftMs, promptTokens }: ObservedLoad): void {
    const prefill = this.#rates.get(`${runtime} ${model}`)?.prefillTokensPerSecond ?? null;
    const loadMs = ttftMs - (prefill === null ? 0 : (promptTokens / prefill) * 1000);
    // Faster than that it was in memory after all: someone else had it loaded since the last look.
    if (loadMs < MIN_LOAD_MS || sizeGb <= 0) return;
    const rate = Math.min(100_000, sizeGb / (loadMs / 1000));
    this.#loadRates.set(runtime, movingAverage(this.#loadRates.get(runtime) ?? null, rate));
  }

  /** The model with what was learned; null where nothing was yet. */
  fill(model: ServedModel): ServedModel {
    const known = this.#rates.get(`${model.runtime} ${model.name}`);
    const loadRate = this.#loadRates.get(model.runtime);
    if (known === undefined && loadRate === undefined) return model;
    return {
      ...model,
      prefill_tokens_per_second: known?.prefillTokensPerSecond ?? null,
      ms_per_token: known?.msPerToken ?? null,
      load_gb_per_second: loadRate ?? null,
    };
  }
}
