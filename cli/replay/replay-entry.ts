import { MeshError, Decision, parseOrThrow, type AuditEntry, type WireError } from "../../bus-schemas/index.ts";
import { readInputs, replayDecision, type Difference } from "../../router/policy/replay.ts";
import type { PolicyTexts } from "./policy-texts.ts";

/** What became of one recorded decision. */
export interface ReplayedDecision {
  sequence: number;
  job_id: string | null;
  time: string;
  state: "same" | "different" | "not_replayable";
  outcome: Decision["outcome"] | null;
  node_id: string | null;
  model: string | null;
  policy_revision: string | null;
  /** The build that decided. */
  software: string | null;
  /** Every node that bore on the decision was in the record. */
  whole: boolean;
  candidates: number;
  differences: Difference[];
  /** Why it could not be made again. */
  error: WireError | null;
}

/** Entries that hold a decision. */
export function holdsDecision({ type, data }: Pick<AuditEntry, "type" | "data">): boolean {
  if (type === "job_decided") return true;
  const { decision = null } = (data ?? {}) as { decision?: unknown };
  return type === "job_redispatched" && decision !== null;
}

/** Makes a recorded decision again. What is wrong with the record is a value, not an exception. */
export async function replayEntry(entry: AuditEntry, policies: PolicyTexts): Promise<ReplayedDecision> {
  const { sequence, job_id, time } = entry;
  const about = { sequence, job_id, time, outcome: null, node_id: null, model: null, policy_revision: null };
  const nothing = { software: null, whole: false, candidates: 0, differences: [], error: null };
  const report: ReplayedDecision = { ...about, ...nothing, state: "not_replayable" };
  try {
    const data = entry.data as { decision?: unknown; inputs?: unknown } | null;
    const decision = parseOrThrow(Decision, data?.decision);
    const { outcome, node_id, model, policy_revision } = decision;
    Object.assign(report, { outcome, node_id, model, policy_revision });
    const inputs = readInputs(data?.inputs);
    report.software = inputs.software;
    const { policy_sha256: sha256 } = inputs;
    const policy = sha256 === null ? undefined : await policies.find(sha256);
    if (policy === undefined || sha256 === null) throw noPolicy(policy_revision, sha256);
    const { differences, whole, candidates } = replayDecision(decision, inputs, policy);
    // The name that people read must be that of the text which was replayed by.
    const digits = policy_revision.slice(policy_revision.lastIndexOf("@") + 1);
    if (!sha256.startsWith(digits) || digits.length < 12)
      differences.push({ path: "policy_revision", recorded: policy_revision, replayed: sha256.slice(0, 12) });
    if (job_id !== inputs.request.job_id)
      differences.push({ path: "job_id", recorded: job_id, replayed: inputs.request.job_id });
    return { ...report, state: differences.length === 0 ? "same" : "different", whole, candidates, differences };
  } catch (error) {
    return { ...report, error: MeshError.from(error).toWire() };
  }
}

function noPolicy(revision: string, sha256: string | null): MeshError {
  const which = `policy ${revision}${sha256 === null ? "" : ` (SHA-256 ${sha256})`}`;
  return new MeshError(
    "not_found",
    `the text of ${which} is neither in the log nor on the bus; name it by --policy FILE`,
  );
}
