import { capabilitiesOf } from "./capabilities.ts";
import type { FoundModel, RuntimeKind } from "./kind.ts";
import { asArray, asCount, asObjects, asText } from "./openai-chunk.ts";

/**
 * LM Studio (0.3.6 and newer): /api/v0/models with `type` (llm, vlm, embeddings), `state` (loaded, not-loaded),
 * `max_context_length`, when loaded `loaded_context_length`, and since 0.3.16 `capabilities`. A model that is not loaded is
 * loaded at its first job. It answers unknown paths with 200 and an error, so only the shape of the list counts.
 * Slots: the API does not tell; 1.
 */
export const lmStudio: RuntimeKind = {
  kind: "lm-studio",
  alivePath: "/v1/models",
  defaultPorts: [1234],
  onePerMachine: true,
  async find(probe, signal) {
    const list = await probe.object("/api/v0/models", signal);
    if (list === undefined || list["object"] !== "list" || !Array.isArray(list["data"])) return undefined;
    const entries = asObjects(list["data"]);
    if (!entries.every((entry) => asText(entry["type"]) !== undefined && asText(entry["state"]) !== undefined))
      return undefined;
    const models = entries.flatMap((entry): FoundModel[] => {
      const name = asText(entry["id"]);
      if (name === undefined) return [];
      const facts = [entry["type"], ...asArray(entry["capabilities"])].filter((word) => typeof word === "string");
      return [
        {
          name,
          loaded: entry["state"] === "loaded",
          contextLengthTokens: asCount(entry["loaded_context_length"]) ?? asCount(entry["max_context_length"]) ?? null,
          capabilities: capabilitiesOf(name, facts),
          sizeBytes: null,
        },
      ];
    });
    return { version: null, healthy: true, slots: 1, models };
  },
};
