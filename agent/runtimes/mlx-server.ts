import { capabilitiesOf } from "./capabilities.ts";
import type { FoundModel, RuntimeKind } from "./kind.ts";
import { asText } from "./openai-chunk.ts";

/** The only fields that it gives a model. */
const FIELDS = ["created", "id", "object"];

/**
 * Apple's mlx_lm.server (ml-explore/mlx-lm, mlx_lm/server.py): /health is exactly `{"status": "ok"}`; /v1/models lists the models of
 * the Hugging Face cache (`org/name`) and the one it was started with (a path), each with id, object and created and no owner. Its
 * HTTP server is Python's own, which says so in the Server header. Four signs together, because each alone is common on 8080.
 * A model is loaded by its first job; the API does not tell which one is. It reads text only, and embeds nothing.
 * Slots: its batching (`--decode-concurrency`) is not told by the API, and older versions have none; 1.
 */
export const mlxServer: RuntimeKind = {
  kind: "mlx-server",
  // No alivePath: before it had threads it answered nothing beside a job.
  defaultPorts: [8080],
  onePerMachine: false,
  manageByHand: "it loads a model at its first job, from the Hugging Face cache (hf download MODEL)",
  tasks: ["completion"],
  async find(probe, signal) {
    const health = await probe.get("/health", signal);
    if (health.status !== 200 || JSON.stringify(health.json) !== '{"status":"ok"}') return undefined;
    if (!health.server.startsWith("basehttp/")) return undefined;
    const list = await probe.openAiModels(signal);
    if (list === undefined || list.length === 0 || !list.every(isItsModel)) return undefined;
    return { version: null, healthy: true, slots: 1, models: list.flatMap(describe) };
  },
};

function isItsModel(model: Record<string, unknown>): boolean {
  return Object.keys(model).toSorted().join() === FIELDS.join() && asText(model["id"])?.includes("/") === true;
}

function describe(model: Record<string, unknown>): FoundModel[] {
  const name = asText(model["id"]);
  if (name === undefined) return [];
  const capabilities = capabilitiesOf(name).filter((word) => word !== "vision");
  // The cache holds whatever was downloaded, also embedding models, which this server cannot run.
  if (!capabilities.includes("chat")) return [];
  return [{ name, loaded: null, contextLengthTokens: null, capabilities, sizeBytes: null }];
}
