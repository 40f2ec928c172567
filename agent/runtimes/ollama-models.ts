import type { IncomingMessage } from "node:http";
import { MeshError, type ModelProgress } from "../../bus-schemas/index.ts";
import type { ManageModel } from "./kind.ts";
import { isOwnGateway, readBody, sendLoopback } from "./loopback-http.ts";
import { bytesOf, callModelApi, inPhase, parseObject, refusal } from "./model-call.ts";
import { asText } from "./openai-chunk.ts";

/** Ollama's management of models: https://github.com/ollama/ollama/blob/main/docs/api.md */

/** A download that says nothing for this long has ended, milliseconds; Ollama itself gives up on a stalled part after 30 s. */
const PULL_SILENCE_MS = 120_000;
/** A line of the progress is a few hundred bytes. */
const MAX_LINE_CHARS = 64 * 1024;

/** Whether a name is one of Ollama's cloud models, which run on ollama.com. */
export function isCloudName(name: string): boolean {
  return /[:-]cloud$/i.test(name);
}

/**
 * An empty request loads, and generates nothing; keep_alive -1 keeps the model until somebody unloads it. A model that only
 * embeds is refused by /api/generate and loaded by /api/embed.
 */
export const loadOllama: ManageModel = async function* (at, model, signal) {
  yield inPhase("loading");
  const body = { model, keep_alive: -1, stream: false };
  let answer = await callModelApi(at, { method: "POST", path: "/api/generate", body }, signal);
  if (answer.status === 400)
    answer = await callModelApi(
      at,
      { method: "POST", path: "/api/embed", body: { model, input: "", keep_alive: -1 } },
      signal,
    );
  if (answer.status !== 200) throw refusal(answer, model);
};

export const unloadOllama: ManageModel = async function* (at, model, signal) {
  yield inPhase("unloading");
  const body = { model, keep_alive: 0, stream: false };
  const answer = await callModelApi(at, { method: "POST", path: "/api/generate", body }, signal);
  if (answer.status !== 200) throw refusal(answer, model);
};

/** A stream of JSON lines: what it does now, and of each part of the model how much is here. Closing the connection stops it. */
export const pullOllama: ManageModel = async function* (at, model, signal) {
  if (isCloudName(model))
    throw new MeshError("bad_request", "model: a cloud model runs at ollama.com and not on this node", {
      field: "model",
    });
  const closer = new AbortController();
  const silence = setTimeout(() => closer.abort(), PULL_SILENCE_MS);
  try {
    const request = { method: "POST", path: "/api/pull", body: { model, stream: true } } as const;
    const response = await sendLoopback(at, request, AbortSignal.any([signal, closer.signal]));
    if (isOwnGateway(response) || response.statusCode !== 200) throw await pullRefusal(response, model);
    let succeeded = false;
    for await (const line of linesOf(response)) {
      silence.refresh();
      const said = parseObject(line) ?? {};
      if (said["error"] !== undefined) throw refusal({ status: 200, body: said }, model);
      const status = asText(said["status"]) ?? "";
      if (status === "success") succeeded = true;
      else yield toProgress(status, said);
    }
    if (!succeeded) throw new MeshError("runtime_failed", "the download broke off; ask again, and it goes on");
  } catch (error) {
    if (signal.aborted) return;
    if (closer.signal.aborted)
      throw new MeshError("runtime_failed", `the download said nothing for ${PULL_SILENCE_MS / 1000} s`);
    throw MeshError.from(error, "runtime_failed", "the runtime closed the connection or does not answer");
  } finally {
    clearTimeout(silence);
    closer.abort();
  }
};

async function pullRefusal(response: IncomingMessage, model: string): Promise<MeshError> {
  if (isOwnGateway(response)) return new MeshError("runtime_failed", "this mesh's own gateway answers there");
  return refusal(
    { status: response.statusCode ?? 0, body: parseObject(await readBody(response, 65_536)) ?? {} },
    model,
  );
}

function toProgress(status: string, said: Record<string, unknown>): ModelProgress {
  if (said["digest"] !== undefined)
    return { phase: "downloading", done_bytes: bytesOf(said["completed"]) ?? 0, total_bytes: bytesOf(said["total"]) };
  return inPhase(/^(verifying|writing|removing)/.test(status) ? "verifying" : "starting");
}

/** @throws MeshError `runtime_failed` at a line that is longer than any of Ollama's */
async function* linesOf(body: AsyncIterable<Buffer>): AsyncIterable<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const part of body) {
    const lines = (rest + decoder.decode(part, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > MAX_LINE_CHARS) throw new MeshError("runtime_failed", "the runtime sent a line that is too long");
    yield* lines.filter((line) => line.trim() !== "");
  }
  if (rest.trim() !== "") yield rest;
}
