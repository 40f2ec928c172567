import { capabilitiesOf } from "../capabilities.ts";
import type { Filter } from "../types.ts";

/** What a model can be for alone; a job says so when it wants that. */
const ALONE = ["embedding", "rerank", "completion"];

/**
 * What the job needs and the model cannot. A model of which nothing is known is taken for a text model. A job that asks for
 * nothing of the kind wants a turn of a chat, which a model for embeddings, reranking or bare completion cannot write.
 */
export const capability: Filter = {
  name: "capability",
  reject(option, { capabilities }, { policy }) {
    const has = option.served.capabilities;
    const alone = has.includes("text") || has.includes("chat") ? undefined : ALONE.find((word) => has.includes(word));
    if (alone !== undefined && !capabilities.some((word) => ALONE.includes(word)))
      return alone === "embedding" ? "is an embedding model and writes no text" : `is a model for ${alone} and no chat`;
    if (capabilities.length === 0) return undefined;
    const all = capabilitiesOf(option, policy);
    const missing = capabilities.filter((name) => !all.includes(name));
    return missing.length === 0 ? undefined : `lacks ${missing.join(", ").slice(0, 200)}`;
  },
};
