import {
  EVENTS,
  JobRequest,
  MeshError,
  type AuditEntry,
  type Decision,
  type EventData,
  type NodeRecord,
} from "../../bus-schemas/index.ts";
import { decide } from "../../router/policy/decide.ts";
import { Fleet } from "../../router/policy/fleet.ts";
import { hash32 } from "../../router/policy/hash.ts";
import type { Policy } from "../../router/policy/types.ts";
import { toRouteRequest } from "../../router/route-request.ts";

/** What would become of a job. */
export interface Fate {
  outcome: Decision["outcome"];
  node_id: string | null;
  layer: string | null;
  model: string | null;
  reason: string;
}

export interface ReplayedJob {
  job_id: string;
  time: string;
  security_level: string;
  task_type: string;
  current: Fate;
  candidate: Fate;
  changed: boolean;
}

/**
 * Decides recorded jobs again, once by each policy, with the same random numbers and as if the nodes of `records` had been
 * there, as they are, at the job's own time. What the record does not hold (the model and the abilities that were asked for,
 * the session, a deadline of its own) is left open for both.
 */
export function replay(
  entries: readonly AuditEntry[],
  records: readonly NodeRecord[],
  current: Policy,
  candidate: Policy,
): ReplayedJob[] {
  const fleet = new Fleet();
  for (const record of records) fleet.upsert(record, 0);
  return entries.flatMap((entry) => {
    const decided = EVENTS.job_decided.data.safeParse(entry.data);
    const atMs = Date.parse(entry.time);
    if (!decided.success || Number.isNaN(atMs)) return [];
    for (const view of fleet.views) view.receivedAtMs = atMs;
    const fates = [current, candidate].map((policy) => fateOf(decided.data, fleet, policy, atMs));
    const [before, after] = fates as [Fate, Fate];
    const { job_id, decision } = decided.data;
    const { security_level, task_type } = decision;
    const changed = (["outcome", "node_id", "model"] as const).some((key) => before[key] !== after[key]);
    return [{ job_id, time: entry.time, security_level, task_type, current: before, candidate: after, changed }];
  });
}

function fateOf(decided: EventData<"job_decided">, fleet: Fleet, policy: Policy, nowMs: number): Fate {
  const { job_id: jobId, decision, sizes } = decided;
  const envelope = {
    jobId,
    queue: decision.task_type,
    headerClass: decision.security_level,
    headerDeadlineMs: undefined,
    bodyBytes: 0,
    encrypted: decision.rejected_by["encryption"] === undefined,
  };
  try {
    const tokens = sizes.prompt_tokens_estimate;
    const request = toRouteRequest(JobRequest.parse({}), envelope, policy.routing, nowMs);
    const again = { ...request, promptTokens: tokens, contextTokens: tokens };
    const { outcome, node_id, layer, model, reason } = decide(again, fleet, policy, nowMs, numbersOf(jobId));
    return { outcome, node_id, layer, model, reason };
  } catch (error) {
    if (!(error instanceof MeshError)) throw error;
    return { outcome: "refused", node_id: null, layer: null, model: null, reason: error.message };
  }
}

/** Uniform numbers in [0,1), the same for the same job. */
function numbersOf(jobId: string): () => number {
  let count = 0;
  return () => hash32(`${jobId} ${count++}`) / 2 ** 32;
}
