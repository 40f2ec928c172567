import { capabilitiesOf } from "../capabilities.ts";
import type { Filter } from "../types.ts";

/**
 * What the job needs and the model cannot. A model of which nothing is known is taken for a text model. A job that does
 * not ask for embeddings wants text, which a pure embedding model cannot write.
 */
export const capability: Filter = {
  name: "capability",
  reject(option, { capabilities }, { policy }) {
    const has = option.served.capabilities;
    if (has.includes("embedding") && !has.includes("text") && !has.includes("chat")) {
      if (!capabilities.includes("embedding")) return "is an embedding model and writes no text";
    }
    if (capabilities.length === 0) return undefined;
    const all = capabilitiesOf(option, policy);
    const missing = capabilities.filter((name) => !all.includes(name));
    return missing.length === 0 ? undefined : `lacks ${missing.join(", ").slice(0, 200)}`;
  },
};
