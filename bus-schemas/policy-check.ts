import { MAX_MODELS, type RoutingConfig, type ScoringWeights } from "./policy.ts";

/** Weights may miss 1 by rounding only. */
const WEIGHT_TOLERANCE = 1e-6;

/** What is wrong, and where. */
export interface PolicyProblem {
  path: string[];
  message: string;
  /** The last part of the path is none of these. */
  known?: string[];
}

/** What a schema cannot say of a routing file: the first contradiction in it, or undefined. */
export function checkPolicy({ routing_policy: policy, models, deployment }: RoutingConfig): PolicyProblem | undefined {
  const path = ["routing_policy", "scoring_weights"];
  const off = weightsProblem(policy.scoring_weights);
  if (off !== undefined) return { path, message: off };
  const queues = Object.keys(policy.task_queues);
  for (const [task, weights] of Object.entries(policy.scoring_weights_by_task)) {
    const ofTask = ["routing_policy", "scoring_weights_by_task", task];
    if (!queues.includes(task)) return { path: ofTask, message: "no task queue of that name", known: queues };
    const problem = weightsProblem(weights);
    if (problem !== undefined) return { path: ofTask, message: problem };
  }
  const count = Object.keys(models).length;
  if (count > MAX_MODELS) return { path: ["models"], message: `${count} models; at most ${MAX_MODELS} are read` };
  const level = deployment.security_policy.default_level;
  if (level !== undefined && policy.default_level !== undefined && level !== policy.default_level) {
    const message = `${level}, but routing_policy.default_level says ${policy.default_level}; say it once`;
    return { path: ["deployment", "security_policy", "default_level"], message };
  }
  return undefined;
}

function weightsProblem({ security, capability, latency, cost }: ScoringWeights): string | undefined {
  const sum = security + capability + latency + cost;
  return Math.abs(sum - 1) <= WEIGHT_TOLERANCE ? undefined : `the weights sum to ${Number(sum.toFixed(6))}, not 1`;
}
