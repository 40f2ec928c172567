import { z } from "zod";
import { DataClass, Layer } from "./classes.ts";
import { JobRequest } from "./job.ts";
import { Count, JobId, KeyBytes, ModelName, NodeId, SubjectToken, Tokens, UnixMs } from "./units.ts";

/** Sealed jobs (ADR 0011): the client asks a router for a ticket, seals the job to the node it names, and sends it there. */

/** A ticket is good for this long at most, milliseconds; the clocks of router and node may differ by less. */
export const TICKET_LIFE_MS = 30_000;

/**
 * A router's permission to send one sealed job to one node. It travels as `<payload>.<signature>`, both base64url: this
 * object as JSON with its keys in this order, and the Ed25519 signature over the first part.
 */
export const Ticket = z.strictObject({
  v: z.literal(1),
  /** Id of the signing router; verdicts go to `job.verdict.<router>.<node>.<id>`. */
  router: SubjectToken,
  /** Of the router's signing key. */
  signer: SubjectToken,
  /** Unique within the router: a ticket is used once. */
  id: SubjectToken,
  job: JobId,
  class: DataClass,
  node: NodeId,
  layer: Layer,
  /** Start of the node: a ticket does not outlive a restart. */
  boot_id: z.string().min(1).max(64),
  model: ModelName,
  /** Task queue that the job counts against. */
  queue: SubjectToken.optional(),
  /** The node's key to seal to. */
  kid: SubjectToken,
  public_key: KeyBytes,
  issued_unix_ms: UnixMs,
  expires_unix_ms: UnixMs,
  /** Of the job. */
  deadline_unix_ms: UnixMs,
  decision_id: z.string().min(1).max(64),
  attempt: Count.min(1),
});
export type Ticket = z.infer<typeof Ticket>;

/** The longest ticket that is looked at, characters. */
export const MAX_TICKET_CHARS = 4096;

/** Jobs by task queue. */
const JobsByQueue = z.record(SubjectToken, Count);

/**
 * What the routers of a cell tell each other about the queues' caps (router/caps): who they think shares them, and what
 * they have out. Each may use its share of a cap when all agree on the list.
 */
export const RouterShares = z.object({
  /** When it was said, on its sender's monotonic clock: heard again by the sender, it tells how fresh the others see it. */
  sent_ms: z.number(),
  /** Names of the routers that share, sorted. */
  view: z.array(SubjectToken).max(100),
  /** Jobs of its own that a node has, or that are on their way. */
  used: JobsByQueue,
  /** Jobs that still run though their router is gone. */
  orphans: JobsByQueue,
  /** Highest priority of the jobs that wait in it for a place; null = none waits. */
  waiting: z.number().nullable().default(null),
  /** Its last word: it takes no more jobs. */
  leaving: z.boolean().default(false),
});
export type RouterShares = z.infer<typeof RouterShares>;

/** What a router announces every second: the key that its tickets are signed with, and its share of the caps. */
export const RouterKey = z.object({
  router: SubjectToken,
  kid: SubjectToken,
  public_key: KeyBytes,
  shares: RouterShares.optional(),
});
export type RouterKey = z.infer<typeof RouterKey>;

/**
 * Body of `job.route`: a job, or of a sealed one only what routing needs. Content that is in it is read by routers, so a
 * request for a ticket has none.
 */
export const RouteQuery = JobRequest.extend({
  /** Wants a ticket where the policy wants the job sealed. */
  ticket: z.boolean().optional(),
  /** Estimate by the client, who alone sees the content. */
  prompt_tokens: Tokens.optional(),
  /** It goes on with an answer that another node began, which the body has. */
  continues: z.boolean().optional(),
  /** Which ticket for this job, from 1. */
  attempt: Count.min(1).optional(),
});
export type RouteQuery = z.infer<typeof RouteQuery>;

/** Fields of a job that say nothing of its content: what a client sends for a ticket. */
export const ROUTE_FIELDS = [
  "task_type",
  "task",
  "security_level",
  "model",
  "requirements",
  "session_id",
  "deadline_unix_ms",
  "timeout_ms",
  "max_latency_ms",
  "max_tokens",
  "caller",
] as const satisfies readonly (keyof JobRequest)[];

/**
 * The answer to a request for a ticket that was not refused; a refusal is the job's ending (JobResult). It says only what
 * the client acts on: the decision's explanation is the record's, and the answer's of `job.route` without `ticket`.
 */
export const TicketReply = z.object({
  /** The policy wants jobs of this class sealed to their node. False: there is no ticket, and nothing was recorded. */
  sealed: z.boolean(),
  /** What the job counts as: the strictest of what was declared. */
  security_level: DataClass,
  ticket: z.string().max(MAX_TICKET_CHARS).nullable(),
  /** So many further tickets may be asked for when the node refuses. */
  attempts_left: Count,
});
export type TicketReply = z.infer<typeof TicketReply>;
