import { z } from "zod";
import { Caller } from "./caller.ts";
import { DataClass } from "./classes.ts";
import { WireError } from "./errors.ts";
import { EVENTS } from "./events.ts";
import { JobResult } from "./job.ts";
import { Count, JobId, Label, ModelName, NodeId, SubjectToken, UnixMs } from "./units.ts";

/**
 * Durable jobs (ADR 0019): a job that says `durable: true` is kept by the broker until it has ended, whatever process dies
 * meanwhile. Its caller gets a receipt and asks later.
 */

/** `dead`: it failed for good and waits for a person, who may send it back to its queue. */
export const DURABLE_STATES = ["queued", "running", "finished", "expired", "cancelled", "dead"] as const;
export const DurableState = z.enum(DURABLE_STATES);
export type DurableState = z.infer<typeof DurableState>;

/** A sequence number of a JetStream stream. */
const Sequence = z.number().int().min(0);

/** Reply to a durable job: the broker has it. */
export const JobReceipt = z.object({
  type: z.literal("queued"),
  job_id: JobId,
  queue: SubjectToken,
  security_level: DataClass,
  deadline_unix_ms: UnixMs,
  /** True when the job was there already: the same id or idempotency key, and the same job. */
  duplicate: z.boolean(),
});
export type JobReceipt = z.infer<typeof JobReceipt>;

/**
 * What the broker keeps of a durable job beside its content, one message a job, each change a compare-and-set. The sequence
 * number of the message that says `running` is the run's fencing token.
 */
export const DurableRecord = z.object({
  job_id: JobId,
  queue: SubjectToken,
  security_level: DataClass,
  state: DurableState,
  queued_unix_ms: UnixMs,
  changed_unix_ms: UnixMs,
  deadline_unix_ms: UnixMs,
  /** SHA-256 of the salt and the job, both base64url: a repeat is recognised by it. */
  salt: z.string().max(64),
  digest: z.string().max(64),
  /** How often it was put in the queue, from 1; a message of an earlier time is none. */
  round: Count,
  /** Dispatches so far; what failed of them; and what was lost with its node or router. */
  attempts: Count,
  failures: Count,
  losses: Count,
  /** Where it runs or ran last. */
  node_id: NodeId.nullable(),
  model: ModelName.nullable(),
  decision_id: z.string().max(64).nullable(),
  /** Inbox of the router that has it; another asks there before it takes the job over. */
  holder: z.string().max(200).nullable(),
  /** Token of the run that ended it; 0 before. */
  fence: Sequence,
  /** Why it died, or why it is tried again. */
  error: WireError.nullable(),
  /** As the job said it. */
  caller: Caller.optional(),
  /** What is recorded of its ending: a router that died before it could do so is not missed. */
  ending: EVENTS.job_ended.data.nullable(),
});
export type DurableRecord = z.infer<typeof DurableRecord>;

/** Whose state is asked for, or who is taken back. */
export const JobQuery = z.object({ job_id: JobId });

/** A durable job as its caller and operators see it. */
export const JobStatus = z.object({
  type: z.literal("status").default("status"),
  job_id: JobId,
  queue: SubjectToken,
  state: DurableState,
  security_level: DataClass,
  queued_unix_ms: UnixMs,
  changed_unix_ms: UnixMs,
  deadline_unix_ms: UnixMs,
  attempts: Count,
  node_id: NodeId.nullable().default(null),
  decision_id: z.string().max(64).nullable().default(null),
  error: WireError.nullable().default(null),
  /** Of a finished job, as long as results are kept; lists leave it out. */
  result: JobResult.nullable().default(null),
});
export type JobStatus = z.infer<typeof JobStatus>;

/** What is known of a dead letter without opening it. */
export const DeadLetter = z.object({
  /** The job's id; of a message that was no job, a name that was made for it. */
  id: SubjectToken,
  queue: SubjectToken,
  /** False: it was no job that can be requeued. */
  is_job: z.boolean(),
  security_level: DataClass.nullable(),
  died_unix_ms: UnixMs,
  attempts: Count,
  node_id: NodeId.nullable(),
  error: WireError,
  bytes: Count.max(100_000_000),
});
export type DeadLetter = z.infer<typeof DeadLetter>;

/** A queue as the broker counts it. */
export const QueueDepth = z.object({
  queue: SubjectToken,
  /** Not yet given to a router. */
  waiting: Count.max(1_000_000_000),
  /** In the hands of routers: running, or about to. */
  in_hand: Count,
  /** Never more than this at once, over all routers. */
  max_concurrency: Count,
});
export type QueueDepth = z.infer<typeof QueueDepth>;

const limit = Count.min(1).max(1000).default(100);

/** What an operator asks the desk of the queues (subject `queue.desk.<verb>`). */
export const DESK_REQUESTS = {
  list: z.object({ queue: SubjectToken.optional(), state: DurableState.optional(), limit }),
  dead: z.object({ queue: SubjectToken.optional(), limit }),
  /** One job by its id, or all dead ones of a queue. */
  requeue: z.object({ id: SubjectToken.optional(), queue: SubjectToken.optional(), by: Label }),
  /** Throws a dead letter away. */
  drop: z.object({ id: SubjectToken, by: Label }),
  /** The content of a job, for an operator who asks for just that. */
  content: z.object({ id: SubjectToken }),
} as const;
export type DeskVerb = keyof typeof DESK_REQUESTS;
export const DESK_VERBS = Object.keys(DESK_REQUESTS) as DeskVerb[];

/** The desk's answers, by verb; where it cannot, `{ error }`. */
export const DESK_REPLIES = {
  list: z.object({ queues: z.array(QueueDepth), jobs: z.array(JobStatus), more: z.boolean() }),
  dead: z.object({ letters: z.array(DeadLetter), more: z.boolean() }),
  requeue: z.object({
    requeued: z.array(SubjectToken),
    refused: z.array(z.object({ id: SubjectToken, error: WireError })),
  }),
  drop: z.object({ dropped: SubjectToken }),
  content: z.object({
    /** The job as it was stored; text, because what is in a dead letter may be anything. */
    request: z.string().nullable(),
    result: JobResult.nullable(),
  }),
} as const;
export type DeskReply<V extends DeskVerb> = z.infer<(typeof DESK_REPLIES)[V]>;
