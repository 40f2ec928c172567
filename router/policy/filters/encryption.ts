import { TICKET_LIFE_MS, type NodeRecord, type SealKey } from "../../../bus-schemas/index.ts";
import type { Filter } from "../types.ts";

/** SEED `require_encryption`: only the node may be able to read the job, so it needs a key to seal to (ADR 0011). */
export const encryption: Filter = {
  name: "encryption",
  reject({ view }, { dataClass, encrypted }, { policy, nowMs }) {
    if (!policy.routing.security[dataClass].require_encryption) return undefined;
    if (!encrypted) return `${dataClass} must be sealed to the node`;
    return sealKeyOf(view.record, nowMs) === undefined ? "announces no key to seal to" : undefined;
  },
};

/** The key to seal to now: the one that lasts longest. */
export function sealKeyOf({ seal_keys: keys, boot_id: bootId }: NodeRecord, nowMs: number): SealKey | undefined {
  // A ticket names the boot of its node.
  if (bootId === null || bootId === "") return undefined;
  let best: SealKey | undefined;
  for (const key of keys) {
    if (key.not_after_unix_ms - TICKET_LIFE_MS <= nowMs) continue;
    if (best === undefined || key.not_after_unix_ms > best.not_after_unix_ms) best = key;
  }
  return best;
}
