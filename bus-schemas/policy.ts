import { z } from "zod";
import { DataClass, Layer } from "./classes.ts";
import { Deployment } from "./deployment.ts";
import { Count, Gb, Ms, Ratio, SubjectToken, Tokens } from "./units.ts";

/** The stream keeps events for 30 days: an entry that goes before that could come again. */
export const MIN_RETENTION_DAYS = 31;

const AuditLevel = z.enum(["full", "standard", "basic"]);

/** SEED 安全策略: what one data class may do. */
export const ClassPolicy = z.strictObject({
  allowed_layers: z.array(Layer).min(1),
  forbidden_layers: z.array(Layer).default([]),
  require_encryption: z.boolean().default(false),
  cloud_if_anonymized: z.boolean().default(false),
  audit_level: AuditLevel.default("standard"),
  /** Entries of this class stay in the audit log so long at least; else `deployment.security_policy.audit_retention_days`, else 365. */
  audit_retention_days: Count.min(MIN_RETENTION_DAYS).max(36_500).optional(),
});
export type ClassPolicy = z.infer<typeof ClassPolicy>;

/** SEED 任务队列配置. Higher `priority` goes first. */
export const QueuePolicy = z.strictObject({
  priority: z.number().int().min(0).max(1000).default(50),
  max_concurrency: Count.min(1).default(50),
  timeout_ms: Ms.min(1).default(30_000),
  batch_window_ms: Ms.optional(),
  /** A job of which no node has told anything by then goes to a second one, too (hedging); left out = never. */
  hedge_after_ms: Ms.min(50).optional(),
});
export type QueuePolicy = z.infer<typeof QueuePolicy>;

/** SEED 评分权重; they sum to 1 (checked when loaded). */
export const ScoringWeights = z.strictObject({
  security: Ratio.default(0.4),
  capability: Ratio.default(0.25),
  latency: Ratio.default(0.2),
  cost: Ratio.default(0.15),
});
export type ScoringWeights = z.infer<typeof ScoringWeights>;

const SEED_CLASSES = {
  P0: { allowed_layers: ["L0", "L1"], forbidden_layers: ["L2"], require_encryption: true, audit_level: "full" },
  P1: { allowed_layers: ["L0", "L1"], cloud_if_anonymized: true, audit_level: "standard" },
  P2: { allowed_layers: ["L0", "L1", "L2"], audit_level: "basic" },
} as const;

/** Whether jobs may wake machines that sleep (ADR 0024). */
export const WakePolicy = z.strictObject({
  enabled: z.boolean().default(false),
  /** A machine that is not ready so long after it was woken has not come up, and no job waits longer for one. */
  max_wait_s: z.number().min(1).max(3600).default(120),
});

/** SEED 基础路由策略, the value of `routing_policy`. What is left out takes SEED's own values. */
export const RoutingPolicy = z.strictObject({
  defaults: z
    .strictObject({
      max_latency_ms: Ms.min(1).default(1500),
      retry_attempts: Count.max(10).default(2),
      fallback_order: z.array(Layer).min(1).default(["L0", "L1", "L2"]),
    })
    .prefault({}),
  /** Class of a job that names none, or an unknown one; without it P0. */
  default_level: DataClass.optional(),
  security: z
    .strictObject({
      P0: ClassPolicy.prefault({ ...SEED_CLASSES.P0, allowed_layers: ["L0", "L1"], forbidden_layers: ["L2"] }),
      P1: ClassPolicy.prefault({ ...SEED_CLASSES.P1, allowed_layers: ["L0", "L1"] }),
      P2: ClassPolicy.prefault({ ...SEED_CLASSES.P2, allowed_layers: ["L0", "L1", "L2"] }),
    })
    .prefault({}),
  scoring_weights: ScoringWeights.prefault({}),
  /** Other weights for jobs of one task type (a queue's name). */
  scoring_weights_by_task: z.record(SubjectToken, ScoringWeights).default({}),
  task_queues: z.record(SubjectToken, QueuePolicy).default({
    chat: { priority: 100, max_concurrency: 50, timeout_ms: 30_000 },
    rag: { priority: 80, max_concurrency: 40, timeout_ms: 60_000 },
    media: { priority: 60, max_concurrency: 16, timeout_ms: 600_000, batch_window_ms: 5000 },
  }),
  wake_on_lan: WakePolicy.prefault({}),
});
export type RoutingPolicy = z.infer<typeof RoutingPolicy>;

/** SEED 模型能力注册表: one model. */
export const ModelSpec = z.strictObject({
  layers: z.array(Layer).min(1),
  requirements: z
    .strictObject({ vram_gb: Gb.optional(), context_length: Tokens.optional(), api_key: z.boolean().optional() })
    .prefault({}),
  capabilities: z.array(SubjectToken).max(32).default([]),
  /** US dollars per 1,000 tokens. */
  cost_per_1k_tokens: z.number().min(0).max(10_000).default(0),
});
export type ModelSpec = z.infer<typeof ModelSpec>;

/** Models in a registry, at most: more are a mistake, and would hold up every router that reads them (1,000 take 0.3 s). */
export const MAX_MODELS = 1000;

/** A whole routing file: SEED's three YAML blocks, together or apart. */
export const RoutingConfig = z.strictObject({
  routing_policy: RoutingPolicy.prefault({}),
  models: z.record(z.string().min(1).max(200), ModelSpec).default({}),
  deployment: Deployment.prefault({}),
});
export type RoutingConfig = z.infer<typeof RoutingConfig>;
