import { capabilitiesOf } from "./capabilities.ts";
import type { FoundModel, RuntimeKind } from "./kind.ts";
import { asCount, asObject, asText } from "./openai-chunk.ts";

/** As for vLLM. */
const ASSUMED_SLOTS = 16;

/**
 * SGLang: /get_model_info (`model_path`, `is_generation`), and /v1/models with `owned_by: "sglang"` and `max_model_len`.
 * At work: /metrics, only with `--enable-metrics` (https://docs.sglang.ai/references/production_metrics.html).
 * Slots: `max_running_requests` of /get_server_info where it was set at the start, else it is worked out from memory.
 */
export const sglang: RuntimeKind = {
  kind: "sglang",
  alivePath: "/get_model_info",
  continuation: { continue_final_message: true },
  defaultPorts: [30000],
  onePerMachine: false,
  manageByHand: "it serves the model that it was started with, so start it with another --model-path",
  tasks: ["completion", "embedding", "rerank"],
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
    const server = asObject((await probe.extra("/get_server_info", signal))?.json);
    const gauges = await probe.gauges(signal);
    return {
      version: asText(server?.["version"]) ?? null,
      healthy: true,
      slots: Math.max(1, asCount(server?.["max_running_requests"]) ?? ASSUMED_SLOTS),
      running: gauges.count("sglang:num_running_reqs"),
      queued: gauges.count("sglang:num_queue_reqs"),
      models,
    };
  },
};
