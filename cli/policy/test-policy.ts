import { MAX_AUDIT_PAGE } from "../../bus-schemas/index.ts";
import type { MeshClient } from "../../client/index.ts";
import { compilePolicy } from "../../router/policy/policy.ts";
import { queryAudit } from "../audit-client.ts";
import { table } from "../format/table.ts";
import { print, printJson } from "../format/terminal.ts";
import { withClient } from "../with-client.ts";
import { changeLine, diffPolicies, type PolicyChange } from "./diff.ts";
import { replay, type Fate, type ReplayedJob } from "./replay.ts";
import { inForce, openBucket, readPolicyFile, type NamedPolicy } from "./source.ts";

interface TestFlags {
  jobs: number;
  replay: boolean;
  json?: boolean;
}

/** What a replay is and is not, for whoever reads its result. */
const CAVEAT =
  "Each job was decided again on the nodes that its record holds, as they were. Of a larger fleet that is those that were " +
  "scored and a few more, so another policy might have found one that is not among them; a job's deadline and class stay.";

/** @throws MeshError `bad_config` when the file is no good */
export async function test(path: string, flags: TestFlags): Promise<void> {
  const file = await readPolicyFile(path);
  if (flags.replay) return withClient((client) => compare(client, file, flags));
  if (flags.json === true) printJson({ policy_revision: file.name, valid: true });
  else print(`${file.name} is a good policy`);
}

async function compare(client: MeshClient, file: NamedPolicy, flags: TestFlags): Promise<void> {
  const now = await inForce(await openBucket(client));
  const limit = Math.min(flags.jobs, MAX_AUDIT_PAGE);
  const { events } = await queryAudit(client, { type: "job_decided", limit });
  const jobs = replay(events, compilePolicy(now.config, now.name), compilePolicy(file.config, file.name));
  const skipped = events.length - jobs.length;
  const changes = diffPolicies(now.config, file.config);
  const changed = jobs.filter((job) => job.changed);
  if (flags.json === true) {
    const head = { valid: true, policy_revision: file.name, in_force: now.name, changes, note: CAVEAT };
    return printJson({ ...head, replayed: jobs.length, skipped, changed });
  }
  print(report(file.name, now.name, changes, jobs, changed, skipped));
}

function report(
  name: string,
  inForceName: string,
  changes: readonly PolicyChange[],
  jobs: readonly ReplayedJob[],
  changed: readonly ReplayedJob[],
  skipped: number,
): string {
  const lines = [`${name} is a good policy`];
  if (changes.length === 0) lines.push(`no setting differs from ${inForceName}, which is in force`);
  else lines.push(`against ${inForceName}, which is in force:`, ...changes.map((change) => `  ${changeLine(change)}`));
  if (skipped > 0) lines.push(`${skipped} recent decisions hold no inputs that this build reads; they are left out`);
  if (jobs.length === 0) return [...lines, "no job was decided yet that can be replayed"].join("\n");
  const refused = changed.filter(
    (job) => job.candidate.outcome === "refused" && job.current.outcome === "routed",
  ).length;
  const routed = changed.filter(
    (job) => job.candidate.outcome === "routed" && job.current.outcome === "refused",
  ).length;
  lines.push(
    `${jobs.length} recent jobs decided again on the nodes of their records: ${changed.length} would change` +
      ` (${refused} newly refused, ${routed} newly routed, ${changed.length - refused - routed} elsewhere)`,
  );
  if (changed.length > 0) {
    const rows = changed.map(({ job_id, security_level, task_type, current, candidate }) => [
      job_id,
      security_level,
      task_type,
      where(current),
      where(candidate),
      candidate.reason,
    ]);
    lines.push(table([["job", "class", "task", "now", "then", "why then"], ...rows]));
  }
  return [...lines, CAVEAT].join("\n");
}

function where({ outcome, node_id, layer, model }: Fate): string {
  return outcome === "refused" ? "refused" : `${layer} ${node_id} ${model}`;
}
