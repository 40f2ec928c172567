import type { IncomingHttpHeaders } from "node:http";
import { MeshError, RUNTIME_PARAMETERS } from "../../bus-schemas/index.ts";
import { asObject, pick, toCall, type Call } from "../call.ts";

export interface ChatCall extends Call {
  stream: boolean;
  /** `stream_options.include_usage`: one more chunk with the counts. */
  includeUsage: boolean;
}

const FIELDS = ["messages", ...RUNTIME_PARAMETERS];

/**
 * A `POST /v1/chat/completions` as a job. Parameters that the mesh does not know are ignored, as OpenAI-compatible
 * servers do, except `n` above 1, which would be answered wrongly.
 * @throws MeshError `bad_request` naming the field.
 */
export function readChatRequest(value: unknown, headers: IncomingHttpHeaders): ChatCall {
  const body = asObject(value);
  if (!Array.isArray(body["messages"])) throw wrong("messages", "must be a list of messages");
  const stream = optional(body, "stream", "boolean") ?? false;
  const streamOptions = optional(body, "stream_options", "object");
  const includeUsage =
    streamOptions === undefined
      ? undefined
      : optional(streamOptions as Record<string, unknown>, "include_usage", "boolean", "stream_options.");
  const n = optional(body, "n", "number");
  if (n !== undefined && n !== 1) throw wrong("n", "the mesh answers with one choice; leave n out or set it to 1");
  const fields = pick(body, FIELDS);
  const model = optional(body, "model", "string");
  if (model !== undefined && model !== "" && model !== "auto") fields["model"] = model;
  // The newer name of the same limit.
  const maxTokens = optional(body, "max_completion_tokens", "number");
  if (maxTokens !== undefined) fields["max_tokens"] = maxTokens;
  const call = toCall(fields, body, headers);
  // OpenAI's key for prompts that share a prefix is our session: both ask for the place where the prefix is cached.
  const cacheKey = optional(body, "prompt_cache_key", "string");
  if (cacheKey !== undefined && cacheKey !== "" && call.job.session_id === undefined)
    call.job.session_id = cacheKey.slice(0, 200);
  return { ...call, stream, includeUsage: includeUsage ?? false };
}

interface Types {
  boolean: boolean;
  number: number;
  string: string;
  object: object;
}

/** A field's value when it has this type, undefined when absent or null. @throws MeshError otherwise. */
function optional<T extends keyof Types>(
  body: Readonly<Record<string, unknown>>,
  name: string,
  type: T,
  prefix = "",
): Types[T] | undefined {
  const value = body[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== type || Array.isArray(value))
    throw wrong(prefix + name, `must be ${type === "object" ? "an" : "a"} ${type}`);
  return value as Types[T];
}

function wrong(field: string, message: string): MeshError {
  return new MeshError("bad_request", `${field}: ${message}`, { field });
}
