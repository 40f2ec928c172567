import type { MeshClient } from "../../client/index.ts";
import type { PolicyBucket } from "../../service/policy-bucket.ts";
import { policyInForce, type GoodPolicy } from "../../service/policy-in-force.ts";
import { policyName } from "../../service/routing-config.ts";
import { EXIT } from "../command.ts";
import { print, printJson } from "../format/terminal.ts";
import { MeshError } from "../../bus-schemas/index.ts";
import { changeLine, diffPolicies } from "./diff.ts";
import { routersOn, type RouterPolicy } from "./routers.ts";
import { goodRevision, openBucket, operator, readPolicyFile, type NamedPolicy } from "./source.ts";

/** Routers take a new revision within a second; one that has not by then is stuck or cut off, milliseconds. */
const SWITCH_LIMIT_MS = 3000;

interface ApplyFlags {
  note?: string;
  ifRevision?: number;
  json?: boolean;
}

/** @throws MeshError `bad_config`, or `conflict` when somebody else was faster */
export async function apply(client: MeshClient, path: string, flags: ApplyFlags): Promise<void> {
  const file = await readPolicyFile(path);
  await put(client, await openBucket(client), file, flags);
}

/** The older text as a new revision: history only grows. */
export async function rollback(client: MeshClient, to: number, flags: Omit<ApplyFlags, "ifRevision">): Promise<void> {
  const bucket = await openBucket(client);
  const older = await goodRevision(bucket, to);
  await put(client, bucket, older, { ...flags, note: flags.note ?? `rollback to ${to}` });
}

async function put(
  client: MeshClient,
  bucket: PolicyBucket,
  policy: Pick<NamedPolicy, "text" | "config">,
  { note, ifRevision, json }: ApplyFlags,
): Promise<void> {
  const newest = await bucket.latest();
  const after = newest?.revision ?? 0;
  if (ifRevision !== undefined && ifRevision !== after)
    throw new MeshError("conflict", `the newest revision is ${after}, not ${ifRevision}; nothing was applied`);
  const { good: before } = await policyInForce(bucket);
  const same = before?.revision.revision === after && before.text === policy.text;
  const revision = same ? after : await bucket.put(policy.text, { by: operator(), note, after });
  const name = policyName(revision, policy.text);
  const routers = await routersOn(client, name, SWITCH_LIMIT_MS);
  const late = routers.filter((router) => router.policy !== name);
  if (late.length > 0) process.exitCode = EXIT.failed;
  const changes = before === undefined ? null : diffPolicies(before.config, policy.config);
  if (json === true) return printJson({ revision, policy_revision: name, applied: !same, changes, routers });
  if (same) print(`revision ${revision} already says this; nothing was applied`);
  else print(`applied as revision ${revision} (${name})${describe(before, changes)}`);
  print(routersLine(routers, late));
}

function describe(before: GoodPolicy | undefined, changes: ReturnType<typeof diffPolicies> | null): string {
  if (before === undefined || changes === null) return "";
  if (changes.length === 0) return `; it says the same as revision ${before.revision.revision} in other words`;
  return `; against revision ${before.revision.revision}:\n${changes.map((change) => `  ${changeLine(change)}`).join("\n")}`;
}

function routersLine(routers: readonly RouterPolicy[], late: readonly RouterPolicy[]): string {
  if (routers.length === 0) return "no router runs; the next one to start takes it";
  if (late.length === 0) return `all ${routers.length} routers decide by it`;
  const named = late.map(({ router_id, policy }) => `${router_id} (${policy})`).join(", ");
  return `not yet in use by ${named}; see its log`;
}
