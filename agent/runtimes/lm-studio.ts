import { capabilitiesOf } from "./capabilities.ts";
import type { FoundModel, RuntimeKind } from "./kind.ts";
import { loadLmStudio, pullLmStudio, unloadLmStudio } from "./lm-studio-models.ts";
import { asArray, asCount, asObject, asObjects, asText } from "./openai-chunk.ts";
import type { Probe } from "./probe.ts";

/**
 * LM Studio (0.3.6 and newer): /api/v0/models with `type` (llm, vlm, embeddings), `state` (loaded, not-loaded),
 * `max_context_length`, when loaded `loaded_context_length`, and since 0.3.16 `capabilities`
 * (https://lmstudio.ai/docs/developer/rest/endpoints). From 0.4.0 on /api/v1/models adds `size_bytes`, `loaded_instances` and
 * whether it sees and was trained for tools (https://lmstudio.ai/docs/developer/rest/list). A model that is not loaded is
 * loaded at its first job. It answers unknown paths with 200 and an error, so only the shape of the list counts.
 * With LM Link it may run a model on another device of its owner, and no API says so (docs/agent-runtimes.md).
 * Slots: the API does not tell; 1.
 */
export const lmStudio: RuntimeKind = {
  kind: "lm-studio",
  alivePath: "/v1/models",
  defaultPorts: [1234],
  onePerMachine: true,
  manage: { load: loadLmStudio, unload: unloadLmStudio, pull: pullLmStudio },
  tasks: ["completion", "embedding"],
  async find(probe, signal) {
    const list = await probe.object("/api/v0/models", signal);
    if (list === undefined || list["object"] !== "list" || !Array.isArray(list["data"])) return undefined;
    const entries = asObjects(list["data"]);
    if (!entries.every((entry) => asText(entry["type"]) !== undefined && asText(entry["state"]) !== undefined))
      return undefined;
    const more = await byKey(probe, signal);
    const models = entries.flatMap((entry) => describe(entry, more));
    return { version: null, healthy: true, slots: 1, models };
  },
};

/** What the newer API says, by the model's key; empty before 0.4.0. */
async function byKey(probe: Probe, signal: AbortSignal): Promise<Map<string, Record<string, unknown>>> {
  const answer = asObject((await probe.extra("/api/v1/models", signal))?.json);
  return new Map(asObjects(answer?.["models"]).map((model) => [asText(model["key"]) ?? "", model]));
}

function describe(entry: Record<string, unknown>, more: ReadonlyMap<string, Record<string, unknown>>): FoundModel[] {
  const name = asText(entry["id"]);
  if (name === undefined) return [];
  const newer = more.get(name);
  const can = asObject(newer?.["capabilities"]);
  const facts = [
    entry["type"],
    ...asArray(entry["capabilities"]),
    ...(can?.["vision"] === true ? ["vision"] : []),
    ...(can?.["trained_for_tool_use"] === true ? ["tools"] : []),
  ].filter((word) => typeof word === "string");
  const size = newer?.["size_bytes"];
  return [
    {
      name,
      loaded: entry["state"] === "loaded",
      contextLengthTokens: asCount(entry["loaded_context_length"]) ?? asCount(entry["max_context_length"]) ?? null,
      capabilities: capabilitiesOf(name, facts),
      sizeBytes: typeof size === "number" && size > 0 ? size : null,
    },
  ];
}
