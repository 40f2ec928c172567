/**
 * Why there is no embedded runtime:
 * `disabled` TIERMESH_MODEL=none · `unsupported_platform` no prebuilt binary for this machine ·
 * `package_unavailable` node-llama-cpp could not be installed · `model_unavailable` no source gave the model ·
 * `start_failed` the child process did not come up.
 */
export type EmbeddedErrorCode =
  | "disabled"
  | "unsupported_platform"
  | "package_unavailable"
  | "model_unavailable"
  | "start_failed";

/** The embedded runtime cannot be had; the message says what to do next. It never leaves the machine, hence no MeshError. */
export class EmbeddedError extends Error {
  override readonly name = "EmbeddedError";
  readonly code: EmbeddedErrorCode;

  constructor(code: EmbeddedErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/** One step of getting ready, for a person to read. Byte counts are there while something is being fetched. */
export interface EmbeddedProgress {
  stage: "package" | "model" | "start";
  message: string;
  receivedBytes?: number;
  totalBytes?: number;
}

export type OnProgress = (progress: EmbeddedProgress) => void;
