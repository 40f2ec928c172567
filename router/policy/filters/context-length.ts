import { contextWindow } from "../capabilities.ts";
import type { Filter } from "../types.ts";

/** The prompt and the answer must fit the model's window; an unknown window is not held against it. */
export const contextLength: Filter = {
  name: "context_length",
  reject(option, { contextTokens }, { policy }) {
    const window = contextWindow(option, policy);
    return window !== undefined && contextTokens > window
      ? `needs ${contextTokens} tokens of context, has ${window}`
      : undefined;
  },
};
