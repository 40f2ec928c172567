import { z } from "zod";
import { DataClass, Layer } from "./classes.ts";
import { NODE_STATUSES } from "./node-record.ts";
import { Count, Gb, Label, ModelName, NodeId, Ratio, SubjectToken, Tokens, Watts } from "./units.ts";

/** Version of what a record of a decision holds and means. A reader refuses any other. */
export const DECISION_INPUTS_VERSION = 1;

/** Any number: what the decision read, however odd, is what the record says. */
const Exact = z.number();

/** The job as the decision saw it; no content. What is left out was not asked for. */
export const RequestInputs = z.object({
  job_id: z.string().max(64),
  /** The queue's name. */
  task_type: SubjectToken,
  security_level: DataClass,
  /** The model that was asked for. */
  model: ModelName.optional(),
  capabilities: z.array(SubjectToken).max(100).optional(),
  prompt_tokens: Exact,
  expected_output_tokens: Exact,
  /** Context window needed. */
  context_tokens: Exact,
  vram_gb: Exact.optional(),
  encrypted: z.boolean(),
  anonymised: z.literal(true).optional(),
  /** It goes on with an answer that another node began. */
  continues: z.literal(true).optional(),
  /** The point of the ring on which the session's home is looked for: a 32-bit hash of its key, in hex. */
  session_hash: z
    .string()
    .regex(/^[0-9a-f]{8}$/)
    .optional(),
  deadline_unix_ms: Exact,
  /** Wanted time to the first token, or to the end for batches. */
  slo_ms: Exact,
  batch: z.literal(true).optional(),
  /** Nodes that were tried before. */
  excluded_nodes: z.array(NodeId).max(100).optional(),
});
export type RequestInputs = z.infer<typeof RequestInputs>;

/** One model on a node as filters and scorers read it. What is left out the node did not say. */
export const ModelInputs = z.object({
  model: ModelName,
  runtime: SubjectToken,
  /** Left out: its runtime answered. */
  runtime_healthy: z.literal(false).optional(),
  /** Why not. Left out: it did not answer. */
  runtime_reason: Label.optional(),
  /** Its runtime goes on with answers that others began; noted for such jobs. */
  continues: z.literal(true).optional(),
  diagnostic: z.literal(true).optional(),
  loaded: z.boolean().optional(),
  context_tokens: Tokens.optional(),
  capabilities: z.array(SubjectToken).max(32).optional(),
  /** Of a model that is not loaded, as the next. */
  size_gb: Gb.optional(),
  load_gb_per_second: Exact.optional(),
  prefill_tokens_per_second: Exact.optional(),
  ms_per_token: Exact.optional(),
  /** At the job's task type: what the table on the bus said, else the estimate. Left out: the job named its model. */
  quality: Ratio.optional(),
});
export type ModelInputs = z.infer<typeof ModelInputs>;

/** One node as filters and scorers read it. What is left out the node did not say, or is the value in brackets. */
export const NodeInputs = z.object({
  node_id: NodeId,
  layer: Layer,
  /** It was scored: all of the layer that could take the job, or some drawn from them. */
  drawn: z.literal(true).optional(),
  /** The job's session is at home there. */
  home: z.literal(true).optional(),
  /** When its last heartbeat came, on the router's clock. */
  heard_unix_ms: Exact,
  /** Between its heartbeats (1000). */
  interval_ms: Exact.optional(),
  /** (1) */
  rtt_ms: Exact.optional(),
  /** (healthy) */
  status: z.enum(NODE_STATUSES).optional(),
  status_reason: Label.optional(),
  /** Of a job that must be sealed: it announces no key to seal to. */
  no_seal_key: z.literal(true).optional(),
  /** The broker said that it is gone. */
  gone: z.literal(true).optional(),
  /** Its machine sleeps. */
  asleep: z.literal(true).optional(),
  /** Its silence did not count: too many were silent at once, or the router itself was late. */
  excused: z.literal(true).optional(),
  /** Why the router spared it: jobs failed there in a row. */
  ejected: Label.optional(),
  slots: Count.optional(),
  /** (0), as the other parts of its load, where it told its slots. */
  running: Count.optional(),
  queued: Count.optional(),
  queue_limit: Count.optional(),
  pending_prefill_tokens: Tokens.optional(),
  /** Jobs that this router sent there since the heartbeat (0). */
  dispatched_since_heartbeat: Count.optional(),
  /** Peak-EWMA of observed over predicted time (1). */
  correction: Exact.optional(),
  avg_latency_ms: Exact.optional(),
  /** Where a model's own time per token is not known. */
  tokens_per_second: Exact.optional(),
  /** (1) */
  cost_factor: Exact.optional(),
  /** Where it is too hot: what it reads, and what is held of earlier readings (router/policy/hysteresis.ts). */
  cpu_celsius: Exact.optional(),
  cpu_held_celsius: Exact.optional(),
  /** All its GPUs as one: memory of all, the first that is too hot, the largest power limit. */
  gpus: z
    .object({
      /** Left out: not known of each. */
      vram_total_gb: Exact.optional(),
      hot: Label.optional(),
      hot_celsius: Exact.optional(),
      hot_held_celsius: Exact.optional(),
      power_limit_watts: Watts.optional(),
    })
    .optional(),
  models: z.array(ModelInputs).max(64),
  /** Models there that the job could also have meant, beyond those listed (0). */
  models_left_out: Count.optional(),
});
export type NodeInputs = z.infer<typeof NodeInputs>;

/**
 * Everything that a decision read, so that it can be made again from its record alone (docs/replay.md). Of a larger fleet
 * the nodes that were scored and those that would have come next; what the random draw chose is marked.
 */
export const DecisionInputs = z.object({
  version: z.literal(DECISION_INPUTS_VERSION),
  /** The build that decided. */
  software: z.string().max(60),
  now_unix_ms: Exact,
  /** SHA-256 of the policy's text; null when it had none. */
  policy_sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .nullable(),
  live_routers: Count,
  request: RequestInputs,
  /** In the order in which the router looks at them. */
  nodes: z.array(NodeInputs).max(64),
  /** Nothing that bears on the decision was left out. */
  whole: z.boolean(),
});
export type DecisionInputs = z.infer<typeof DecisionInputs>;

/** As a record is stored: inputs of another version, or ones that are not well formed, are kept as their version only. */
export const RecordedInputs = z.union([DecisionInputs, z.object({ version: Count })]);
export type RecordedInputs = z.infer<typeof RecordedInputs>;
