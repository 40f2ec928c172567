import { MeshError, type ErrorCode, type UpgradeProblem } from "../../bus-schemas/index.ts";

/** Each problem's place in the one table of codes; which of them it was is in the state that travels beside the error. */
const CODES: Record<UpgradeProblem, ErrorCode> = {
  not_installed: "not_supported",
  managed_by_package: "not_supported",
  release_key_missing: "forbidden",
  wrong_system: "not_supported",
  bad_signature: "forbidden",
  bad_artefact: "forbidden",
  release_missing: "not_found",
  no_space: "bad_config",
  downgrade: "conflict",
  no_previous: "not_found",
  busy: "conflict",
  not_healthy: "internal",
  not_taken_up: "internal",
  bad_request: "bad_request",
  failed: "internal",
};

/** Why this machine is not upgraded. */
export class UpgradeError extends MeshError {
  readonly problem: UpgradeProblem;

  constructor(problem: UpgradeProblem, message: string, cause?: unknown) {
    super(CODES[problem], message, { cause });
    this.problem = problem;
  }
}

/** Which problem it is; what is none of ours is `failed`. */
export function problemOf(error: unknown): UpgradeProblem {
  return error instanceof UpgradeError ? error.problem : "failed";
}
