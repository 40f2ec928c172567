import { MeshError, type ModelProgress } from "../../bus-schemas/index.ts";
import { isOwnGateway, readBody, sendLoopback, type LoopbackRequest, type LoopbackTarget } from "./loopback-http.ts";
import { asObject, asText } from "./openai-chunk.ts";

/** An answer about a model is a few hundred bytes. */
const MAX_ANSWER_BYTES = 1024 * 1024;
/** What a runtime's own words may take of an error message, characters. */
const MAX_QUOTE = 300;

export interface ModelAnswer {
  status: number;
  /** Empty where the answer is no JSON object. */
  body: Record<string, unknown>;
}

/**
 * One question about a model, which may take as long as a model loads: `signal` ends it.
 * @throws MeshError `runtime_failed` when the server is gone or answers too much
 */
export async function callModelApi(
  at: LoopbackTarget,
  request: LoopbackRequest,
  signal: AbortSignal,
): Promise<ModelAnswer> {
  try {
    const response = await sendLoopback(at, request, signal);
    if (isOwnGateway(response)) {
      response.destroy();
      throw new MeshError("runtime_failed", "this mesh's own gateway answers where the runtime was");
    }
    const text = await readBody(response, MAX_ANSWER_BYTES);
    return { status: response.statusCode ?? 0, body: parseObject(text) ?? {} };
  } catch (error) {
    throw MeshError.from(error, "runtime_failed", "the runtime closed the connection or does not answer");
  }
}

export function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    return asObject(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/**
 * A runtime's refusal. Its own words are quoted, unlike those about a job: no job's content went there, and what it says of
 * memory or of names is what a person needs. `error` is a text (Ollama, LM Studio before 0.4) or an object with a message.
 */
export function refusal({ status, body }: ModelAnswer, model: string): MeshError {
  const said = asText(body["error"]) ?? asText(asObject(body["error"])?.["message"]);
  if (status === 404 || (said !== undefined && /not found|does not exist|no such/i.test(said)))
    return new MeshError("model_not_found", `the runtime knows no model ${model}${quote(said)}`, { field: "model" });
  return new MeshError("runtime_failed", `the runtime does not do it (HTTP ${status})${quote(said)}`);
}

function quote(said: string | undefined): string {
  if (said === undefined) return "";
  return `; it says: ${said.replace(/\p{Cc}/gu, " ").slice(0, MAX_QUOTE)}`;
}

/** Progress of which no bytes are told. */
export function inPhase(phase: ModelProgress["phase"]): ModelProgress {
  return { phase, done_bytes: null, total_bytes: null };
}

/** A file's size as a runtime tells it, null when it is none. */
export function bytesOf(value: unknown): number | null {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : null;
}
