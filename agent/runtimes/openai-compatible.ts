import { capabilitiesOf } from "./capabilities.ts";
import type { FoundModel, RuntimeKind } from "./kind.ts";
import { asCount, asText } from "./openai-chunk.ts";

/**
 * Any other server with OpenAI's /v1/models. Only where an operator named it: such a server on a well-known port may as well be
 * a proxy to a cloud (LiteLLM, one-api), and what it lists would count as running on this machine.
 * `max_model_len`, `context_length` and `context_window` are read where a server gives them.
 */
export const openAiCompatible: RuntimeKind = {
  kind: "openai-compatible",
  defaultPorts: [],
  onePerMachine: false,
  onlyNamed: true,
  tasks: ["completion", "embedding", "rerank"],
  async find(probe, signal) {
    const list = await probe.openAiModels(signal);
    if (list === undefined) return undefined;
    const models = list.flatMap((model): FoundModel[] => {
      const name = asText(model["id"]);
      if (name === undefined) return [];
      const contextLengthTokens =
        asCount(model["max_model_len"]) ?? asCount(model["context_length"]) ?? asCount(model["context_window"]) ?? null;
      return [{ name, loaded: null, contextLengthTokens, capabilities: capabilitiesOf(name), sizeBytes: null }];
    });
    return { version: null, healthy: true, slots: 1, models };
  },
};
