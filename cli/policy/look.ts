import { MeshError } from "../../bus-schemas/index.ts";
import type { MeshClient } from "../../client/index.ts";
import type { PolicyBucket, PolicyRevision } from "../../service/policy-bucket.ts";
import { checkRevision, policyInForce, type BadPolicy, type GoodPolicy } from "../../service/policy-in-force.ts";
import { table } from "../format/table.ts";
import { print, printJson } from "../format/terminal.ts";
import { changeLine, diffPolicies } from "./diff.ts";
import { routerPolicies } from "./routers.ts";
import { goodRevision, inForce, openBucket, readPolicyFile, revisionOf, type NamedPolicy } from "./source.ts";

/** Prints a routing file whose first lines, comments, say what it is. */
export async function show(client: MeshClient, flags: { revision?: number; json?: boolean }): Promise<void> {
  const bucket = await openBucket(client);
  const { good, bad } = await policyInForce(bucket);
  const asked = flags.revision === undefined ? undefined : checkRevision(await revisionOf(bucket, flags.revision));
  const shown = asked ?? good;
  if (shown === undefined && bad.length === 0) {
    const message =
      "there is no policy on the bus yet: routers put theirs there when they start, `tiermesh policy apply FILE` does";
    throw new MeshError("not_found", message);
  }
  const routers = await routerPolicies(client);
  if (flags.json === true) {
    return printJson({
      ...(shown === undefined ? {} : { ...about(shown), text: shown.revision.text ?? null }),
      in_force: good?.name ?? null,
      rejected: bad.map(about),
      routers,
    });
  }
  if (shown !== undefined) print(heading(shown, good).join("\n"));
  for (const { revision, reason } of bad) {
    print(`# revision ${revision.revision} by ${revision.by} is no good, routers do not take it: ${reason}`);
  }
  for (const { router_id, policy } of routers) print(`# router ${router_id} decides by ${policy}`);
  print(shown?.revision.text?.trimEnd());
}

export async function history(client: MeshClient, flags: { json?: boolean }): Promise<void> {
  const bucket = await openBucket(client);
  const revisions: (GoodPolicy | BadPolicy)[] = [];
  for await (const revision of bucket.newestFirst()) revisions.push(checkRevision(revision));
  const good = revisions.find((each) => "config" in each);
  if (flags.json === true) return printJson(revisions.map((each) => ({ ...about(each), in_force: each === good })));
  if (revisions.length === 0) return print("there is no policy on the bus yet");
  const rows = revisions.map((each) => [
    String(each.revision.revision),
    each.name,
    each.revision.at.toISOString(),
    each.revision.by,
    each === good ? "in force" : "reason" in each ? "no good" : "",
    "reason" in each ? each.reason : (each.revision.note ?? ""),
  ]);
  print(table([["revision", "name", "when", "who", "state", "note"], ...rows]));
}

export async function diff(
  client: MeshClient,
  a: string | undefined,
  b: string | undefined,
  flags: { json?: boolean },
): Promise<void> {
  const bucket = await openBucket(client);
  const [from, to] = await sides(bucket, a, b);
  const changes = diffPolicies(from.config, to.config);
  if (flags.json === true) return printJson({ from: from.name, to: to.name, changes });
  print(`${from.name} → ${to.name}`);
  for (const change of changes) print(changeLine(change));
  if (changes.length === 0) print("no setting differs");
}

type Side = Pick<NamedPolicy, "name" | "config">;

/** A file is what may come, so it stands on the right of the policy in force; an old revision on its left. */
async function sides(bucket: PolicyBucket, a: string | undefined, b: string | undefined): Promise<[Side, Side]> {
  if (a === undefined) return newestTwo(bucket);
  const named = await side(bucket, a);
  if (b !== undefined) return [named, await side(bucket, b)];
  const now = await inForce(bucket);
  return isRevision(a) ? [named, now] : [now, named];
}

async function newestTwo(bucket: PolicyBucket): Promise<[Side, Side]> {
  const good: GoodPolicy[] = [];
  for await (const revision of bucket.newestFirst()) {
    const checked = checkRevision(revision);
    if ("config" in checked && good.push(checked) === 2) break;
  }
  const [newest, before] = good;
  if (newest === undefined || before === undefined)
    throw new MeshError("not_found", "there are no two good revisions to compare; see `tiermesh policy history`");
  return [before, newest];
}

function side(bucket: PolicyBucket, text: string): Promise<Side> {
  return isRevision(text) ? goodRevision(bucket, Number(text)) : readPolicyFile(text);
}

function isRevision(text: string): boolean {
  return /^\d{1,15}$/.test(text);
}

function about(policy: GoodPolicy | BadPolicy) {
  const { revision, by, note, at }: PolicyRevision = policy.revision;
  return {
    revision,
    policy_revision: policy.name,
    by,
    at: at.toISOString(),
    note: note ?? null,
    problem: "reason" in policy ? policy.reason : null,
  };
}

function heading(shown: GoodPolicy | BadPolicy, good: GoodPolicy | undefined): string[] {
  const { revision, by, note, at } = shown.revision;
  const state =
    "reason" in shown
      ? "no good"
      : shown.name === good?.name
        ? "in force"
        : `in force is revision ${good?.revision.revision}`;
  const why = note === undefined ? "" : `: ${note}`;
  return [`# policy revision ${revision} (${shown.name}), ${state}`, `# applied ${at.toISOString()} by ${by}${why}`];
}
