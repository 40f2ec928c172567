import { z } from "zod";
import { DataClass, Layer } from "./classes.ts";
import { WireError } from "./errors.ts";
import { Count, Jurisdiction, Label, ModelDigest, ModelName, Ms, NodeId, Ratio, SubjectToken } from "./units.ts";

/** The four terms of SEED's 评分公式, each in [0,1], and their weighted sum. */
export const ScoreTerms = z.object({
  total: z.number().min(0).max(1.000001),
  security: Ratio,
  capability: Ratio,
  latency: Ratio,
  cost: Ratio,
  /** Prediction behind `latency`: time to the first token, or to the end for media. */
  predicted_ms: Ms,
});
export type ScoreTerms = z.infer<typeof ScoreTerms>;

/** One node and model that was looked at: removed by a filter with its reason, or scored. */
export const Candidate = z.object({
  node_id: NodeId,
  layer: Layer,
  model: ModelName.nullable(),
  rejected: z.object({ filter: SubjectToken, reason: z.string().max(300) }).nullable(),
  score: ScoreTerms.nullable(),
});
export type Candidate = z.infer<typeof Candidate>;

/** Level one (SEED 一级路由): which tool or data source, and where data may live. */
export const ToolChoice = z.object({
  tool: SubjectToken,
  data_residency: z.enum(["local_only", "local_first", "any"]),
  reason: Label,
});
export type ToolChoice = z.infer<typeof ToolChoice>;

/** What the chosen node said of the place and the model, in the heartbeat that was decided by. Nothing is chosen by it. */
export const Target = z.object({
  /** On a machine of the house, or at a cloud provider (layer L2). */
  place: z.enum(["local", "cloud"]),
  /** Null: nobody said it. */
  jurisdiction: Jurisdiction.nullable(),
  /** Null: the runtime does not say. */
  model_digest: ModelDigest.nullable(),
});
export type Target = z.infer<typeof Target>;

/** Where a job goes, or why nowhere. The answer of `POST /route` and `job.route`, and the body of `job_decided`. */
export const Decision = z.object({
  outcome: z.enum(["routed", "refused"]),
  security_level: DataClass,
  task_type: SubjectToken,
  tool: ToolChoice,
  node_id: NodeId.nullable(),
  layer: Layer.nullable(),
  model: ModelName.nullable(),
  /** Null where there is none, and in records from before there was that. */
  target: Target.nullable().default(null),
  /** The policy wants jobs of this class sealed to their node: they go by ticket, never in clear (ticket.ts). */
  sealed: z.boolean().default(false),
  score: ScoreTerms.nullable(),
  /** The chosen model has to be loaded first: about so long, in `predicted_ms` already. null when it is in memory. */
  cold_start_ms: Ms.nullable().default(null),
  /** One sentence for people. */
  reason: z.string().max(500),
  /** Every candidate of a small fleet; on a larger one those that were drawn, and counts for the rest. */
  candidates: z.array(Candidate),
  candidates_total: Count,
  rejected_by: z.record(z.string(), Count),
  /** Next picks, best first, if this one refuses or is lost: up to three; on a larger fleet a job's record names one or two. */
  alternatives: z.array(z.object({ node_id: NodeId, layer: Layer, model: ModelName })),
  policy_revision: z.string().max(100),
  error: WireError.nullable(),
});
export type Decision = z.infer<typeof Decision>;
