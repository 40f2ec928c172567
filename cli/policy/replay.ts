import {
  EVENTS,
  MeshError,
  type AuditEntry,
  type Decision,
  type DecisionInputs,
  type RequestInputs,
} from "../../bus-schemas/index.ts";
import { refusal } from "../../router/policy/refusal.ts";
import { readInputs, redecide } from "../../router/policy/replay.ts";
import { scoreTerms } from "../../router/policy/score.ts";
import { survey } from "../../router/policy/survey.ts";
import type { Policy } from "../../router/policy/types.ts";
import { suggest } from "../../service/config.ts";

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
  /** Every node that bore on the decision is in its record. */
  whole: boolean;
  current: Fate;
  candidate: Fate;
  changed: boolean;
}

/**
 * Decides recorded jobs again, once by each policy, at the time and on the nodes that their records hold. Entries that are
 * no decision, or hold no inputs that this build reads, are passed over.
 */
export function replay(entries: readonly AuditEntry[], current: Policy, candidate: Policy): ReplayedJob[] {
  return entries.flatMap(({ data, time }) => {
    const inputs = inputsOf(data);
    if (inputs === undefined) return [];
    const before = fateOf(inputs, current);
    const after = fateOf({ ...inputs, request: requestUnder(inputs.request, current, candidate) }, candidate);
    const { job_id, security_level, task_type } = inputs.request;
    const changed = (["outcome", "node_id", "model"] as const).some((key) => before[key] !== after[key]);
    const job = { job_id, time, security_level, task_type, whole: inputs.whole };
    return [{ ...job, current: before, candidate: after, changed }];
  });
}

function inputsOf(data: unknown): DecisionInputs | undefined {
  const decided = EVENTS.job_decided.data.safeParse(data);
  if (!decided.success) return undefined;
  try {
    return readInputs(decided.data.inputs);
  } catch {
    return undefined;
  }
}

/** A wanted time that is the policy's own, and whether a queue's jobs are batches, change with the policy. */
function requestUnder(request: RequestInputs, from: Policy, to: Policy): RequestInputs {
  const { slo_ms, batch: _, ...rest } = request;
  const own = slo_ms === from.routing.defaults.max_latency_ms;
  const batch = queueOf(request, to)?.batch_window_ms !== undefined;
  return {
    ...rest,
    slo_ms: own ? to.routing.defaults.max_latency_ms : slo_ms,
    ...(batch ? { batch: true as const } : {}),
  };
}

function queueOf({ task_type: name }: RequestInputs, { routing: { task_queues: queues } }: Policy) {
  // Own keys only: "constructor" is a token too.
  return Object.hasOwn(queues, name) ? queues[name] : undefined;
}

function fateOf(inputs: DecisionInputs, policy: Policy): Fate {
  if (queueOf(inputs.request, policy) === undefined) {
    const { task_type: name } = inputs.request;
    const message = `no queue "${name}"${suggest(name, Object.keys(policy.routing.task_queues))}`;
    return refused(new MeshError("unknown_queue", message));
  }
  const { pick, context, request, fleet } = redecide(inputs, policy);
  if (pick === undefined) {
    const { rejectedBy } = survey(fleet.options(), request, context, 0);
    return refused(refusal(request, fleet, context, rejectedBy));
  }
  const { view, layer, served } = pick.option;
  const { total, predicted_ms } = scoreTerms(pick.option, request, context);
  const reason = `score ${total.toFixed(2)}, expected in ${Math.round(predicted_ms)} ms`;
  return { outcome: "routed", node_id: view.record.node_id, layer, model: served.name, reason };
}

function refused({ message }: MeshError): Fate {
  return { outcome: "refused", node_id: null, layer: null, model: null, reason: message };
}
