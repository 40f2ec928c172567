import { MeshError, type ModelProgress } from "../../bus-schemas/index.ts";
import { pause } from "../../service/loop.ts";
import type { ManageModel } from "./kind.ts";
import type { LoopbackTarget } from "./loopback-http.ts";
import { callModelApi, inPhase, refusal } from "./model-call.ts";
import { asObject, asObjects, asText } from "./openai-chunk.ts";

/**
 * llama-server as a router of several models (llama.cpp, tools/server/README.md, "Using multiple models"): POST /models/load and
 * /models/unload answer at once, and /v1/models tells when it is done.
 */

/** How often it is asked whether it is done, milliseconds. */
const POLL_MS = 250;

export const loadLlamaServer: ManageModel = (at, model, signal) => change(at, model, signal, "load");
export const unloadLlamaServer: ManageModel = (at, model, signal) => change(at, model, signal, "unload");

async function* change(
  at: LoopbackTarget,
  model: string,
  signal: AbortSignal,
  action: "load" | "unload",
): AsyncIterable<ModelProgress> {
  yield inPhase(`${action}ing`);
  const wanted = `${action}ed`;
  if (statusOf(await list(at, signal), model) === wanted) return;
  const answer = await callModelApi(at, { method: "POST", path: `/models/${action}`, body: { model } }, signal);
  if (answer.status !== 200) throw refusal(answer, model);
  while (!signal.aborted) {
    const models = await list(at, signal);
    if (statusOf(models, model) === wanted) return;
    if (asObject(find(models, model)?.["status"])?.["failed"] === true)
      throw new MeshError("runtime_failed", `llama-server could not ${action} ${model}; its own log says why`);
    await pause(POLL_MS, signal);
  }
}

async function list(at: LoopbackTarget, signal: AbortSignal): Promise<Record<string, unknown>[]> {
  return asObjects((await callModelApi(at, { method: "GET", path: "/v1/models" }, signal)).body["data"]);
}

function find(models: readonly Record<string, unknown>[], model: string): Record<string, unknown> | undefined {
  return models.find(({ id }) => id === model);
}

function statusOf(models: readonly Record<string, unknown>[], model: string): string | undefined {
  return asText(asObject(find(models, model)?.["status"])?.["value"]);
}
