import type { ServedModel } from "../../bus-schemas/index.ts";
import { movingAverage } from "../model/moving-average.ts";

/** Fewer prompt tokens say more about overheads than about prefill. */
const MIN_PROMPT_TOKENS = 16;
/** Fewer intervals between tokens are mostly noise. */
const MIN_INTERVALS = 4;

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

/** How fast each model is here, learned from real answers as moving averages. A model that was being loaded must not be observed. */
export class LearnedRates {
  readonly #rates = new Map<string, Rates>();

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

  /** The model with what was learned; null where nothing was yet. */
  fill(model: ServedModel): ServedModel {
    const known = this.#rates.get(`${model.runtime} ${model.name}`);
    if (known === undefined) return model;
    return { ...model, prefill_tokens_per_second: known.prefillTokensPerSecond, ms_per_token: known.msPerToken };
  }
}
