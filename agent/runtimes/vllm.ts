import { capabilitiesOf } from "./capabilities.ts";
import type { FoundModel, RuntimeKind } from "./kind.ts";
import { asCount, asText } from "./openai-chunk.ts";

/**
 * vLLM: /version, and /v1/models with `owned_by: "vllm"` and `max_model_len`. LoRA adapters are models with a `parent` and
 * without a length of their own. Everything it lists is in memory.
 * At work: /metrics, https://docs.vllm.ai/en/latest/usage/metrics.html.
 * Slots: `--max-num-seqs` is not told by its API; 16 is far below its defaults (128 to 1,024) and keeps the time per token good.
 */
export const vllm: RuntimeKind = {
  kind: "vllm",
  alivePath: "/health",
  continuation: { continue_final_message: true, add_generation_prompt: false },
  defaultPorts: [8000],
  onePerMachine: false,
  manageByHand: "it serves the model that it was started with, so start it with another one (vllm serve MODEL)",
  tasks: ["completion", "embedding", "rerank"],
  async find(probe, signal) {
    const version = asText((await probe.object("/version", signal))?.["version"]);
    if (version === undefined) return undefined;
    const list = await probe.openAiModels(signal);
    if (
      list === undefined ||
      !list.some((model) => model["owned_by"] === "vllm" && asCount(model["max_model_len"]) !== undefined)
    )
      return undefined;
    const lengths = new Map(list.map((model) => [asText(model["id"]), asCount(model["max_model_len"])]));
    const models = list.flatMap((model): FoundModel[] => {
      const name = asText(model["id"]);
      if (name === undefined) return [];
      // An adapter shares the window of its base; its name says less than the base's.
      const parent = asText(model["parent"]);
      const contextLengthTokens = lengths.get(name) ?? lengths.get(parent) ?? null;
      return [
        {
          name,
          loaded: true,
          contextLengthTokens,
          capabilities: capabilitiesOf(parent ?? asText(model["root"]) ?? name),
          sizeBytes: null,
        },
      ];
    });
    const gauges = await probe.gauges(signal);
    return {
      version,
      healthy: true,
      slots: 16,
      running: gauges.count("vllm:num_requests_running"),
      queued: gauges.count("vllm:num_requests_waiting"),
      models,
    };
  },
};
