import { capabilitiesOf } from "./capabilities.ts";
import type { FoundModel, RuntimeKind } from "./kind.ts";
import { asCount, asText } from "./openai-chunk.ts";

/**
 * SGLang: /get_model_info (`model_path`, `is_generation`), and /v1/models with `owned_by: "sglang"` and `max_model_len`.
 * Slots: `--max-running-requests` is worked out from memory at its start; 16 as for vLLM.
 */
export const sglang: RuntimeKind = {
  kind: "sglang",
  alivePath: "/get_model_info",
  continuation: { continue_final_message: true },
  defaultPorts: [30000],
  onePerMachine: false,
  async find(probe, signal) {
    const info = await probe.object("/get_model_info", signal);
    if (info === undefined || asText(info["model_path"]) === undefined) return undefined;
    const list = await probe.openAiModels(signal);
    if (list === undefined || !list.some((model) => model["owned_by"] === "sglang")) return undefined;
    const models = list.flatMap((model): FoundModel[] => {
      const name = asText(model["id"]);
      if (name === undefined) return [];
      const capabilities = info["is_generation"] === false ? ["embedding"] : capabilitiesOf(name);
      return [
        {
          name,
          loaded: true,
          contextLengthTokens: asCount(model["max_model_len"]) ?? null,
          capabilities,
          sizeBytes: null,
        },
      ];
    });
    return { version: null, healthy: true, slots: 16, models };
  },
};
