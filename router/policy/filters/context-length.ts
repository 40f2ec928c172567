import type { Filter } from "../types.ts";

/** The prompt and the answer must fit the model's window; an unknown window is not held against it. */
export const contextLength: Filter = {
  name: "context_length",
  reject({ served }, { contextTokens }, { policy }) {
    const window = served.context_length ?? policy.models.get(served.name)?.requirements.context_length ?? null;
    return window !== null && contextTokens > window
      ? `needs ${contextTokens} tokens of context, has ${window}`
      : undefined;
  },
};
