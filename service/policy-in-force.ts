import type { RoutingConfig } from "../bus-schemas/index.ts";
import { MeshError } from "../bus-schemas/index.ts";
import type { PolicyBucket, PolicyRevision } from "./policy-bucket.ts";
import { parseRoutingConfig, policyName } from "./routing-config.ts";

/** A revision that a router can use. */
export interface GoodPolicy {
  revision: PolicyRevision;
  /** As decisions name it: `7@0123456789ab`. */
  name: string;
  text: string;
  config: RoutingConfig;
}

/** A revision that no router takes, and why. */
export interface BadPolicy {
  revision: PolicyRevision;
  name: string;
  reason: string;
}

/**
 * The rule by which all routers come to the same policy, however they got here: the newest revision that is a good one
 * counts. `bad` holds those that are newer than it, newest first.
 */
export async function policyInForce(
  bucket: Pick<PolicyBucket, "newestFirst">,
): Promise<{ good: GoodPolicy | undefined; bad: BadPolicy[] }> {
  const bad: BadPolicy[] = [];
  for await (const revision of bucket.newestFirst()) {
    const checked = checkRevision(revision);
    if ("config" in checked) return { good: checked, bad };
    bad.push(checked);
  }
  return { good: undefined, bad };
}

export function checkRevision(revision: PolicyRevision): GoodPolicy | BadPolicy {
  const { text } = revision;
  const name = policyName(revision.revision, text ?? "");
  if (text === undefined) return { revision, name, reason: "the key was deleted" };
  // The schema fills in SEED's values for what is left out; a value with nothing in it is a slip, not that wish.
  if (text.trim() === "") return { revision, name, reason: "it is empty" };
  try {
    return { revision, name, text, config: parseRoutingConfig(text, `revision ${revision.revision}`) };
  } catch (error) {
    return { revision, name, reason: MeshError.from(error).message.slice(0, 500) };
  }
}
