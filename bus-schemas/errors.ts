import { z } from "zod";
import { Ms } from "./units.ts";

interface CodeInfo {
  /** Whether the same request may succeed when sent again. */
  retryable: boolean;
  /** HTTP status the gateway answers with. */
  httpStatus: number;
}

/** Every error code of the mesh, in one table: code → retryable, HTTP status. */
export const ERROR_CODES = {
  bad_request: { retryable: false, httpStatus: 400 },
  unauthorized: { retryable: false, httpStatus: 401 },
  forbidden: { retryable: false, httpStatus: 403 },
  not_found: { retryable: false, httpStatus: 404 },
  unknown_queue: { retryable: false, httpStatus: 404 },
  model_not_found: { retryable: false, httpStatus: 404 },
  conflict: { retryable: false, httpStatus: 409 },
  payload_too_large: { retryable: false, httpStatus: 413 },
  codec_unknown: { retryable: true, httpStatus: 415 },
  bad_config: { retryable: false, httpStatus: 500 },
  /** The ticket of a sealed job is no longer good, or never was: a new one may be. */
  ticket_rejected: { retryable: true, httpStatus: 503 },
  encryption_required: { retryable: false, httpStatus: 400 },
  anonymiser_required: { retryable: false, httpStatus: 403 },
  rate_limited: { retryable: true, httpStatus: 429 },
  cancelled: { retryable: false, httpStatus: 499 },
  internal: { retryable: false, httpStatus: 500 },
  /** What was asked for cannot be done with this runtime or provider at all. */
  not_supported: { retryable: false, httpStatus: 501 },
  runtime_failed: { retryable: true, httpStatus: 502 },
  node_lost: { retryable: true, httpStatus: 502 },
  stream_interrupted: { retryable: true, httpStatus: 502 },
  no_node: { retryable: true, httpStatus: 503 },
  no_router: { retryable: true, httpStatus: 503 },
  bus_unavailable: { retryable: true, httpStatus: 503 },
  audit_unavailable: { retryable: true, httpStatus: 503 },
  draining: { retryable: true, httpStatus: 503 },
  deadline_exceeded: { retryable: false, httpStatus: 504 },
  all_busy: { retryable: true, httpStatus: 529 },
} as const satisfies Record<string, CodeInfo>;

export type ErrorCode = keyof typeof ERROR_CODES;
const CODES = Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]];

/** An error as it travels on the bus. `field` is the path of the offending field, such as `messages[0].role`. */
export const WireError = z.object({
  code: z.enum(CODES),
  message: z.string().max(2000),
  field: z.string().max(200).optional(),
  retryable: z.boolean(),
  retry_after_ms: Ms.optional(),
});
export type WireError = z.infer<typeof WireError>;

export interface MeshErrorOptions {
  field?: string | undefined;
  retryAfterMs?: number | undefined;
  cause?: unknown;
}

/** The one error type of the mesh. Its message says what to do next and never holds content of a job or a secret. */
export class MeshError extends Error {
  override readonly name = "MeshError";
  readonly code: ErrorCode;
  readonly field: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, options: MeshErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.field = options.field;
    this.retryAfterMs = options.retryAfterMs;
  }

  get retryable(): boolean {
    return ERROR_CODES[this.code].retryable;
  }

  get httpStatus(): number {
    return ERROR_CODES[this.code].httpStatus;
  }

  toWire(): WireError {
    return {
      code: this.code,
      message: this.message.slice(0, 2000),
      retryable: this.retryable,
      ...(this.field === undefined ? {} : { field: this.field.slice(0, 200) }),
      ...(this.retryAfterMs === undefined ? {} : { retry_after_ms: this.retryAfterMs }),
    };
  }

  static fromWire(wire: WireError): MeshError {
    return new MeshError(wire.code, wire.message, { field: wire.field, retryAfterMs: wire.retry_after_ms });
  }

  /** Any thrown value as a MeshError. A foreign error's own message is not passed on: it could quote content. */
  static from(
    error: unknown,
    code: ErrorCode = "internal",
    message = "unexpected error; see the process log",
  ): MeshError {
    return error instanceof MeshError ? error : new MeshError(code, message, { cause: error });
  }
}

/** A zod path as people write it: `messages[0].role`. */
export function fieldPath(path: readonly PropertyKey[]): string {
  let out = "";
  for (const part of path) {
    if (typeof part === "number") out += `[${part}]`;
    else out += out === "" ? String(part) : `.${String(part)}`;
  }
  return out;
}

/**
 * Checks `value` against `schema`.
 * @throws MeshError `code` naming the first bad field; the message never quotes the value.
 */
export function parseOrThrow<T extends z.ZodType>(
  schema: T,
  value: unknown,
  code: ErrorCode = "bad_request",
): z.infer<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const field = issue === undefined ? "" : fieldPath(issue.path);
  const where = field === "" ? "the message" : field;
  throw new MeshError(code, `${where}: ${issue?.message ?? "not valid"}`, { field: field === "" ? undefined : field });
}
