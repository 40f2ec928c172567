import type { IncomingHttpHeaders } from "node:http";
import { RUNTIME_PARAMETERS } from "../../bus-schemas/index.ts";
import { asObject, pick, toCall, type Call } from "../call.ts";
import { modelOf, onlyOne, optional, streamingOf, wrong } from "./fields.ts";

/** A call whose answer is text, streamed or not. */
export interface TextCall extends Call {
  stream: boolean;
  /** `stream_options.include_usage`: one more chunk with the counts. */
  includeUsage: boolean;
}

const CHAT_FIELDS = ["messages", ...RUNTIME_PARAMETERS];
const COMPLETION_FIELDS = ["suffix", ...RUNTIME_PARAMETERS];

/**
 * A `POST /v1/chat/completions` as a job. Parameters that the mesh does not know are ignored, as OpenAI-compatible
 * servers do, except `n` above 1, which would be answered wrongly.
 * @throws MeshError `bad_request` naming the field.
 */
export function readChatRequest(value: unknown, headers: IncomingHttpHeaders): TextCall {
  const body = asObject(value);
  if (!Array.isArray(body["messages"])) throw wrong("messages", "must be a list of messages");
  const streaming = streamingOf(body);
  onlyOne(body);
  const fields = { ...pick(body, CHAT_FIELDS), ...modelOf(body) };
  // The newer name of the same limit.
  const maxTokens = optional(body, "max_completion_tokens", "number");
  const call = toCall(maxTokens === undefined ? fields : { ...fields, max_tokens: maxTokens }, body, headers);
  return { ...sessionOf(call, body), ...streaming };
}

/**
 * A `POST /v1/completions` as a job. What would be answered wrongly is refused: several prompts, prompts as token ids, `echo`.
 * @throws MeshError `bad_request` naming the field.
 */
export function readCompletionRequest(value: unknown, headers: IncomingHttpHeaders): TextCall {
  const body = asObject(value);
  const given = body["prompt"];
  const prompt: unknown = Array.isArray(given) && given.length === 1 ? given[0] : given;
  if (typeof prompt !== "string" || prompt === "") throw wrong("prompt", "must be one text that is not empty");
  if (optional(body, "echo", "boolean") === true) throw wrong("echo", "the mesh does not say the prompt again");
  const streaming = streamingOf(body);
  onlyOne(body);
  const fields = { task: "completion", prompt, ...pick(body, COMPLETION_FIELDS), ...modelOf(body) };
  return { ...sessionOf(toCall(fields, body, headers), body), ...streaming };
}

/** OpenAI's key for prompts that share a prefix is our session: both ask for the place where the prefix is cached. */
function sessionOf(call: Call, body: Readonly<Record<string, unknown>>): Call {
  const cacheKey = optional(body, "prompt_cache_key", "string");
  if (cacheKey !== undefined && cacheKey !== "" && call.job.session_id === undefined)
    call.job.session_id = cacheKey.slice(0, 200);
  return call;
}
