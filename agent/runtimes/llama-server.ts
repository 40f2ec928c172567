import { capabilitiesOf } from "./capabilities.ts";
import type { FoundModel, FoundRuntime, RuntimeKind } from "./kind.ts";
import { loadLlamaServer, unloadLlamaServer } from "./llama-server-models.ts";
import { asArray, asCount, asObject, asObjects, asText } from "./openai-chunk.ts";
import type { Probe } from "./probe.ts";

/**
 * llama.cpp's llama-server: /props (slots, context per slot, build), /health (503 while the model loads), /v1/models. With
 * several models it is a router of its own (`role: "router"`), and each model says whether it is loaded.
 * Known by two of its own fields, because many other servers sit on 8080.
 */
export const llamaServer: RuntimeKind = {
  kind: "llama-server",
  alivePath: "/health",
  continuation: {},
  defaultPorts: [8080],
  onePerMachine: false,
  manage: { load: loadLlamaServer, unload: unloadLlamaServer },
  manageByHand: "it serves the model that it was started with, so start it with another --model",
  tasks: ["completion", "embedding", "rerank"],
  async find(probe, signal) {
    const answer = await probe.get("/props", signal);
    // While the model loads every path but /health answers 503; the Server header (since 2024) is then the only sign.
    if (answer.status === 503 && answer.server === "llama.cpp")
      return { version: null, healthy: false, slots: 1, models: [] };
    const props = await probe.object("/props", signal);
    const settings = asObject(props?.["default_generation_settings"]);
    const slots = asCount(props?.["total_slots"]);
    const isRouter = props?.["role"] === "router";
    if (props === undefined || settings === undefined || (slots === undefined && !isRouter)) return undefined;
    const list = await probe.openAiModels(signal);
    if (
      list === undefined ||
      (answer.server !== "llama.cpp" && !list.some((model) => model["owned_by"] === "llamacpp"))
    )
      return undefined;
    const health = await probe.get("/health", signal);
    const contextLengthTokens = asCount(settings["n_ctx"]) || null;
    return {
      version: asText(props["build_info"]) ?? null,
      healthy: health.status === 200,
      slots: Math.max(1, slots ?? 1),
      ...(isRouter ? {} : { manages: [], ...(await atWork(probe, signal)) }),
      models: list.flatMap((model) => describe(model, props, contextLengthTokens)),
    };
  },
};

/**
 * /metrics (`requests_processing`, `requests_deferred`; only with `--metrics`), else /slots (`is_processing`; on unless
 * `--no-slots`), which does not tell what waits. A router would have to be asked for each model, which would load it.
 */
async function atWork(probe: Probe, signal: AbortSignal): Promise<Pick<FoundRuntime, "running" | "queued">> {
  const gauges = await probe.gauges(signal);
  const running = gauges.count("llamacpp:requests_processing");
  if (running !== undefined) return { running, queued: gauges.count("llamacpp:requests_deferred") };
  const slots = (await probe.extra("/slots", signal))?.json;
  if (!Array.isArray(slots)) return {};
  return { running: asObjects(slots).filter((slot) => slot["is_processing"] === true).length };
}

function describe(
  model: Record<string, unknown>,
  props: Record<string, unknown>,
  contextLengthTokens: number | null,
): FoundModel[] {
  const id = asText(model["id"]);
  if (id === undefined) return [];
  // Without an alias older builds call the model by its path; that stays its name here, since jobs must say the same.
  const meta = asObject(model["meta"]);
  const status = asText(asObject(model["status"])?.["value"]);
  const modalities = asArray(asObject(model["architecture"])?.["input_modalities"]).filter(
    (word) => typeof word === "string",
  );
  const kinds = asObject(props["modalities"]);
  const facts = [
    ...modalities.filter((word) => word !== "text"),
    ...(["vision", "audio"] as const).filter((word) => kinds?.[word] === true),
    ...(asObject(props["chat_template_caps"])?.["supports_tools"] === true ? ["tools"] : []),
  ];
  const size = meta?.["size"];
  return [
    {
      name: id,
      loaded: status === undefined ? true : status === "loaded",
      contextLengthTokens: asCount(meta?.["n_ctx"]) || contextLengthTokens,
      capabilities: capabilitiesOf(id, facts),
      sizeBytes: typeof size === "number" && size > 0 ? size : null,
    },
  ];
}
