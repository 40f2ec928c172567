import { MeshError } from "../../bus-schemas/index.ts";
import { pause } from "../../service/loop.ts";
import type { ManageModel } from "./kind.ts";
import type { LoopbackTarget } from "./loopback-http.ts";
import { bytesOf, callModelApi, inPhase, refusal, type ModelAnswer } from "./model-call.ts";
import { asObjects, asText } from "./openai-chunk.ts";

/**
 * LM Studio's management of models, from 0.4.0 on: https://lmstudio.ai/docs/developer/rest/load, unload, download and
 * download-status. Older ones answer these paths with 200 and an error.
 */

/** How often the download is asked how far it is, milliseconds. */
const POLL_MS = 1000;

export const loadLmStudio: ManageModel = async function* (at, model, signal) {
  yield inPhase("loading");
  // Each load makes another instance, with memory of its own.
  if ((await instancesOf(at, model, signal)).length > 0) return;
  const answer = await post(at, "/api/v1/models/load", { model }, signal);
  if (answer.status !== 200 || answer.body["error"] !== undefined) throw refusal(answer, model);
};

export const unloadLmStudio: ManageModel = async function* (at, model, signal) {
  yield inPhase("unloading");
  for (const id of await instancesOf(at, model, signal)) {
    const answer = await post(at, "/api/v1/models/unload", { instance_id: id }, signal);
    if (answer.status !== 200 || answer.body["error"] !== undefined) throw refusal(answer, model);
  }
};

export const pullLmStudio: ManageModel = async function* (at, model, signal) {
  yield inPhase("starting");
  let answer = await post(at, "/api/v1/models/download", { model }, signal);
  const jobId = asText(answer.body["job_id"]);
  for (;;) {
    if (signal.aborted) return;
    const status = asText(answer.body["status"]);
    if (answer.status !== 200 || status === undefined) throw refused(answer, model);
    if (status === "completed" || status === "already_downloaded") return;
    if (status === "failed")
      throw new MeshError("runtime_failed", "the download failed; LM Studio's own window says why");
    if (status === "paused")
      throw new MeshError("runtime_failed", "somebody paused this download in LM Studio's own window");
    yield {
      phase: "downloading",
      done_bytes: bytesOf(answer.body["downloaded_bytes"]),
      total_bytes: bytesOf(answer.body["total_size_bytes"]),
    };
    await pause(POLL_MS, signal);
    if (signal.aborted) return;
    const path = `/api/v1/models/download/status/${encodeURIComponent(jobId ?? "")}`;
    answer = await callModelApi(at, { method: "GET", path }, signal);
  }
};

/** Ids of what is in memory of a model. @throws MeshError `not_supported` from a version without this API */
async function instancesOf(at: LoopbackTarget, model: string, signal: AbortSignal): Promise<string[]> {
  const answer = await callModelApi(at, { method: "GET", path: "/api/v1/models" }, signal);
  if (answer.status !== 200 || !Array.isArray(answer.body["models"])) throw refused(answer, model);
  const entry = asObjects(answer.body["models"]).find(({ key }) => key === model);
  return asObjects(entry?.["loaded_instances"]).flatMap(({ id }) => asText(id) ?? []);
}

function refused(answer: ModelAnswer, model: string): MeshError {
  const unknownPath = answer.status === 200 && /unexpected endpoint/i.test(asText(answer.body["error"]) ?? "");
  if (!unknownPath) return refusal(answer, model);
  const instead = "it needs LM Studio 0.4.0 or newer; until then use its own window, or lms load, lms unload, lms get";
  return new MeshError("not_supported", instead, { field: "command" });
}

function post(at: LoopbackTarget, path: string, body: object, signal: AbortSignal): Promise<ModelAnswer> {
  return callModelApi(at, { method: "POST", path, body }, signal);
}
