import type { Filter } from "../types.ts";

/** SEED `require_encryption`: the job's way must be unreadable to others (ADR 0006). */
export const encryption: Filter = {
  name: "encryption",
  reject: (_option, { dataClass, encrypted }, { policy }) =>
    policy.routing.security[dataClass].require_encryption && !encrypted
      ? `${dataClass} needs an encrypted way`
      : undefined,
};
