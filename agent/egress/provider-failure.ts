import type { IncomingHttpHeaders } from "node:http";
import { MeshError } from "../../bus-schemas/index.ts";
import { asObject, asText } from "../runtimes/openai-chunk.ts";

/**
 * Whose fault a failed call is, which says what becomes of the provider: `caller` nothing; `model` that model rests;
 * `busy` and `down` back-off; `quota` a long rest; `key` out until the file or the key changes.
 */
export type Blame = "caller" | "model" | "busy" | "down" | "quota" | "key";

/** A call that failed: what the caller is told, and what is thought of the provider. */
export class ProviderFailure extends Error {
  override readonly name = "ProviderFailure";
  readonly blame: Blame;
  /** For the caller. It never quotes what the provider said, because providers quote prompts and keys in their errors. */
  readonly told: MeshError;

  constructor(blame: Blame, told: MeshError) {
    super(told.message);
    this.blame = blame;
    this.told = told;
  }
}

/** No back-off that a server asks for is honoured beyond an hour, milliseconds. */
const MAX_RETRY_AFTER_MS = 3_600_000;

/** `Retry-After` in seconds or as an HTTP date (RFC 9110 §10.2.3), or `retry-after-ms` as OpenAI and Azure send it. */
export function retryAfterMs(headers: IncomingHttpHeaders, nowUnixMs: number): number | undefined {
  const ms = Number(headers["retry-after-ms"] ?? Number.NaN);
  const text = headers["retry-after"]?.trim() ?? "";
  // Date.parse alone would make a date of nearly anything.
  const untilMs = /^[A-Z][a-z]{2,8}, .{1,40} GMT$/.test(text) ? Date.parse(text) : Number.NaN;
  const wait = ms >= 0 ? ms : /^\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : untilMs - nowUnixMs;
  return Number.isFinite(wait) ? Math.min(Math.max(Math.round(wait), 0), MAX_RETRY_AFTER_MS) : undefined;
}

/**
 * An answer that is not 200.
 * @param body what there is of it; only its error code is looked at
 */
export function failureOf(
  status: number,
  headers: IncomingHttpHeaders,
  body: string,
  nowUnixMs: number,
): ProviderFailure {
  const wait = retryAfterMs(headers, nowUnixMs);
  const fail = (blame: Blame, code: ConstructorParameters<typeof MeshError>[0], what: string) =>
    new ProviderFailure(
      blame,
      new MeshError(code, `the provider answered HTTP ${status}: ${what}`, { retryAfterMs: wait }),
    );
  const { code, moderated } = readError(body);
  if (status >= 300 && status < 400) return fail("down", "runtime_failed", "a redirect, which is not followed");
  switch (status) {
    case 401:
      return fail("key", "runtime_failed", "it does not take this node's key");
    case 403:
      // OpenRouter, of a prompt that its moderation refused: https://openrouter.ai/docs/api-reference/errors
      if (moderated) return fail("caller", "bad_request", "its moderation refused the prompt");
      return fail("key", "runtime_failed", "this node's key may not do this");
    case 402:
      return fail("quota", "runtime_failed", "the account has no credit left");
    case 404:
      return fail("model", "runtime_failed", "it does not know this model, or the base URL is wrong");
    case 413:
      return fail("caller", "payload_too_large", "the request is too large for it");
    case 400:
    case 415:
    case 422:
      return fail(
        "caller",
        "bad_request",
        "it does not accept these messages or parameters; is the prompt within its context?",
      );
    case 429:
      // https://platform.openai.com/docs/guides/error-codes: no credit, which waiting does not cure.
      if (code === "insufficient_quota") return fail("quota", "runtime_failed", "the account has no quota left");
      return fail("busy", "rate_limited", "too many requests");
    case 503:
    case 529:
      return fail("busy", "all_busy", "it is overloaded");
    default:
      return fail("down", "runtime_failed", status >= 500 ? "an error of its own" : "unexpected");
  }
}

/** A call that got no answer, or lost it on the way. */
export function connectionFailure(error: unknown): ProviderFailure {
  // A system's or OpenSSL's code, such as ENOTFOUND or CERT_HAS_EXPIRED; the message could hold more than that.
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  const why = typeof code === "string" && /^[A-Z0-9_]{1,60}$/.test(code) ? ` (${code})` : "";
  return new ProviderFailure(
    "down",
    new MeshError("runtime_failed", `the provider cannot be reached, or broke off${why}`),
  );
}

/** OpenAI's and Anthropic's error bodies both have an `error` object. */
function readError(body: string): { code: string | undefined; moderated: boolean } {
  try {
    const error = asObject(asObject(JSON.parse(body))?.["error"]);
    const metadata = asObject(error?.["metadata"]);
    const moderated = metadata?.["reasons"] !== undefined || metadata?.["flagged_input"] !== undefined;
    return { code: asText(error?.["code"]) ?? asText(error?.["type"]), moderated };
  } catch {
    return { code: undefined, moderated: false };
  }
}
