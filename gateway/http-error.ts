import { ERROR_CODES, MeshError } from "../bus-schemas/index.ts";

/** Faults of HTTP itself, which the mesh's own table (bus-schemas/errors.ts) has no code for: code → status. */
const HTTP_CODES = {
  method_not_allowed: 405,
  request_timeout: 408,
  unsupported_media_type: 415,
  headers_too_large: 431,
} as const;

export type HttpCode = keyof typeof HTTP_CODES;

/** A request that is wrong as HTTP. Its message says what to do and never quotes the request's body. */
export class HttpError extends Error {
  override readonly name = "HttpError";
  readonly code: HttpCode;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: HttpCode, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.code = code;
    this.headers = headers;
  }

  get httpStatus(): number {
    return HTTP_CODES[this.code];
  }
}

/** Anything thrown while a request was served, as one of the two errors that callers are shown. */
export function asAnswerable(error: unknown, maxBodyBytes: number): MeshError | HttpError {
  if (error instanceof MeshError || error instanceof HttpError) return error;
  const { code, statusCode } = (error ?? {}) as { code?: unknown; statusCode?: unknown };
  switch (code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return new MeshError("payload_too_large", `the body is larger than ${maxBodyBytes} bytes`);
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
      return new HttpError(
        "unsupported_media_type",
        "send the body as JSON, with the header Content-Type: application/json",
      );
    case "FST_ERR_CTP_INVALID_CONTENT_LENGTH":
      return new MeshError("bad_request", "the body's length is not its Content-Length");
    case "FST_ERR_BAD_URL":
      return new MeshError("bad_request", "the path is not a valid URL path");
    default:
  }
  // What is left of the framework's own 4xx concerns the request; its message may quote it, so ours is plain.
  if (typeof statusCode === "number" && statusCode >= 400 && statusCode < 500) {
    return new MeshError("bad_request", "the request could not be read", { cause: error });
  }
  return MeshError.from(error);
}

/** Whether the same request may succeed when sent again. */
export function isRetryable(error: MeshError | HttpError): boolean {
  return error instanceof MeshError ? ERROR_CODES[error.code].retryable : error.code === "request_timeout";
}
