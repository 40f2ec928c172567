import type { Decision, EventData, Layer, Outcome } from "../../bus-schemas/index.ts";

/** Events about jobs as routers and agents record them. */

export function decided(
  jobId: string,
  node: string | null,
  layer: Layer | null,
  over: Partial<Decision> = {},
): EventData<"job_decided"> {
  return {
    job_id: jobId,
    attempt: 1,
    decision: { ...decision(node, layer), ...over },
    sizes: { request_bytes: 420, prompt_tokens_estimate: 90 },
    inputs: null,
  };
}

export function decision(node: string | null, layer: Layer | null): Decision {
  const score = { total: 0.83, security: 1, capability: 0.9, latency: 0.7, cost: 0.6, predicted_ms: 350 };
  return {
    outcome: node === null ? "refused" : "routed",
    security_level: "P2",
    task_type: "chat",
    tool: { tool: "model", data_residency: "any", reason: "no tool" },
    node_id: node,
    layer,
    model: node === null ? null : "qwen3:14b",
    target:
      node === null ? null : { place: layer === "L2" ? "cloud" : "local", jurisdiction: null, model_digest: null },
    sealed: false,
    score: node === null ? null : score,
    cold_start_ms: null,
    reason: node === null ? "no node can take this job" : `${node} has the best score`,
    candidates:
      node === null
        ? []
        : [
            { node_id: node, layer: layer ?? "L1", model: "qwen3:14b", rejected: null, score },
            {
              node_id: "mac-1",
              layer: "L0",
              model: null,
              rejected: { filter: "vram", reason: "needs 12 GB, has 8 GB" },
              score: null,
            },
          ],
    candidates_total: node === null ? 0 : 2,
    rejected_by: node === null ? {} : { vram: 1 },
    alternatives: [],
    policy_revision: "3-0a1b2c3d4e5f",
    error: node === null ? { code: "no_node", message: "no node can take this job", retryable: true } : null,
  };
}

export function ended(
  jobId: string,
  node: string | null,
  layer: Layer | null,
  status: Outcome = "finished",
): EventData<"job_ended"> {
  return {
    job_id: jobId,
    status,
    node_id: node,
    layer,
    model: node === null ? null : "qwen3:14b",
    decision_id: null,
    finish_reason: status === "finished" ? "stop" : null,
    usage: status === "finished" ? { prompt_tokens: 90, completion_tokens: 210, estimated: false } : null,
    ...(status === "finished" ? { energy_wh: 0.25 } : {}),
    timing: { queued_ms: 2, ttft_ms: 210, total_ms: 1400 },
    error: status === "finished" ? null : { code: "runtime_failed", message: "the runtime failed", retryable: true },
  };
}

export function hop(
  jobId: string,
  from: string,
  to: string | null,
  layer: Layer = "L1",
): EventData<"job_redispatched"> {
  return {
    job_id: jobId,
    attempt: 2,
    from_node_id: from,
    to_node_id: to,
    error: { code: "node_lost", message: "the node is gone", retryable: true },
    decision: to === null ? null : decision(to, layer),
    inputs: null,
  };
}

/** What a decision read, of a job that is to end by then. */
export function inputs(jobId: string, deadlineMs: number): EventData<"job_decided">["inputs"] {
  return {
    version: 1,
    software: "test",
    now_unix_ms: deadlineMs - 60_000,
    policy_sha256: null,
    live_routers: 1,
    request: {
      job_id: jobId,
      task_type: "chat",
      security_level: "P2",
      prompt_tokens: 90,
      expected_output_tokens: 200,
      context_tokens: 290,
      encrypted: false,
      deadline_unix_ms: deadlineMs,
      slo_ms: 1000,
    },
    nodes: [],
    whole: true,
  };
}
