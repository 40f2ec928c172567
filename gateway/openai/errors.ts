import { type HttpError, isRetryable } from "../http-error.ts";
import type { MeshError } from "../../bus-schemas/index.ts";

/** An error in OpenAI's shape: the body of a failed request, and the last event of a stream that broke. */
export interface OpenAiError {
  error: { message: string; type: string; param: string | null; code: string };
}

export interface ErrorAnswer {
  status: number;
  headers: Readonly<Record<string, string>>;
  body: OpenAiError;
}

/** Pause advised to a caller when the mesh names none, milliseconds. */
const DEFAULT_RETRY_AFTER_MS = 1000;

/** OpenAI's error types by HTTP status; theirs for an unknown model or path (404) is also `invalid_request_error`. */
function errorType(status: number): string {
  if (status === 401) return "authentication_error";
  if (status === 403) return "permission_error";
  if (status === 429) return "rate_limit_error";
  if (status === 529) return "overloaded_error";
  return status < 500 ? "invalid_request_error" : "server_error";
}

export function errorBody(error: MeshError | HttpError): OpenAiError {
  const param = "field" in error ? (error.field ?? null) : null;
  return { error: { message: error.message, type: errorType(error.httpStatus), param, code: error.code } };
}

/**
 * A failed request's answer. Everybody busy is 529 and not 429, so that callers can tell "the mesh is full" from "you are
 * over your limit"; the official SDK retries both, and honours `Retry-After` and `x-should-retry` (openai-node,
 * `shouldRetry` in client.ts).
 */
export function errorAnswer(error: MeshError | HttpError): ErrorAnswer {
  const status = error.httpStatus;
  const headers: Record<string, string> = {
    "content-type": "application/json; charset=utf-8",
    ...("headers" in error ? error.headers : {}),
  };
  if (isRetryable(error)) {
    if (status === 429 || status === 503 || status === 529) {
      const waitMs = ("retryAfterMs" in error ? error.retryAfterMs : undefined) ?? DEFAULT_RETRY_AFTER_MS;
      headers["retry-after"] = String(Math.max(1, Math.ceil(waitMs / 1000)));
      // Not standard, but the official SDK prefers it: whole seconds are long where a slot is free in 50 ms.
      headers["retry-after-ms"] = String(Math.ceil(waitMs));
    }
  } else if (status >= 500) headers["x-should-retry"] = "false";
  return { status, headers, body: errorBody(error) };
}
