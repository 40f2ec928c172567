import { readFileSync } from "node:fs";
import { hostname, userInfo } from "node:os";
import { text as readAll } from "node:stream/consumers";
import { MeshError } from "../../bus-schemas/index.ts";
import type { MeshClient } from "../../client/index.ts";
import { PolicyBucket, type PolicyRevision } from "../../service/policy-bucket.ts";
import { checkRevision, policyInForce, type GoodPolicy } from "../../service/policy-in-force.ts";
import { parseRoutingConfig, policyName, type RoutingText } from "../../service/routing-config.ts";

/** A policy from a file or a revision, checked. */
export interface NamedPolicy extends RoutingText {
  name: string;
}

/** @throws MeshError `bus_unavailable` when JetStream does not answer. */
export async function openBucket(client: MeshClient): Promise<PolicyBucket> {
  try {
    const bucket = await PolicyBucket.open(client.bus);
    await bucket.state();
    return bucket;
  } catch (error) {
    throw new MeshError(
      "bus_unavailable",
      "the bus does not answer for its policy bucket; is JetStream enabled there?",
      {
        cause: error,
      },
    );
  }
}

/** A routing file, `-` for standard input. @throws MeshError `bad_config` with file, line and what was expected. */
export async function readPolicyFile(path: string): Promise<NamedPolicy> {
  let text: string;
  try {
    text = path === "-" ? await readAll(process.stdin) : readFileSync(path, "utf8");
  } catch (error) {
    throw new MeshError("bad_config", `${path}: cannot be read`, { cause: error });
  }
  const shown = path === "-" ? "standard input" : path;
  if (text.trim() === "") throw new MeshError("bad_config", `${shown}: is empty; a policy is never empty by intent`);
  return { name: policyName(shown, text), text, config: parseRoutingConfig(text, shown) };
}

/** The policy that routers decide by. @throws MeshError `not_found` when the bucket has no good one. */
export async function inForce(bucket: PolicyBucket): Promise<GoodPolicy> {
  const { good } = await policyInForce(bucket);
  if (good !== undefined) return good;
  const message = "there is no good policy on the bus; `tiermesh policy apply FILE` puts one there";
  throw new MeshError("not_found", message);
}

/** @throws MeshError `not_found` */
export async function revisionOf(bucket: PolicyBucket, revision: number): Promise<PolicyRevision> {
  const found = await bucket.revision(revision);
  if (found !== undefined) return found;
  throw new MeshError(
    "not_found",
    `there is no policy revision ${revision} (any more); see \`tiermesh policy history\``,
  );
}

/** @throws MeshError `not_found`, or `bad_config` when it is none that a router can use. */
export async function goodRevision(bucket: PolicyBucket, revision: number): Promise<GoodPolicy> {
  const checked = checkRevision(await revisionOf(bucket, revision));
  if ("config" in checked) return checked;
  throw new MeshError("bad_config", `policy revision ${revision} is no good: ${checked.reason}`);
}

/** Who works here, for the history. */
export function operator(): string {
  try {
    return `${userInfo().username}@${hostname()}`;
  } catch {
    return hostname(); // an account without a name, as in some containers
  }
}
