import { z } from "zod";
import { Caller } from "./caller.ts";
import { WireError } from "./errors.ts";
import { DataClass, Layer } from "./classes.ts";
import { Load } from "./node-record.ts";
import { TASK_CONTENT, Task, TaskOutput } from "./task.ts";
import { Count, JobId, KeyBytes, ModelName, Ms, NodeId, SubjectToken, Tokens, UnixMs, WattHours } from "./units.ts";

/** A part of a message: text, or an image by data or http(s) URL, in OpenAI's shape. Other parts pass through. */
export const ContentPart = z.looseObject({ type: z.string().max(40) });

export const ToolCall = z.object({
  id: z.string().max(200),
  type: z.literal("function"),
  function: z.object({ name: z.string().max(200), arguments: z.string() }),
});
export type ToolCall = z.infer<typeof ToolCall>;

/** One chat message in OpenAI's shape. */
export const ChatMessage = z.looseObject({
  role: z.enum(["system", "developer", "user", "assistant", "tool", "function"]),
  content: z.union([z.string(), z.array(ContentPart).max(1000), z.null()]).optional(),
});
export type ChatMessage = z.infer<typeof ChatMessage>;

/** What the job needs of a node and a model. */
export const Requirements = z.object({
  capabilities: z.array(SubjectToken).max(16).default([]),
  /** Context window needed; without it the prompt's estimated length plus `max_tokens`. */
  context_length: Tokens.optional(),
  vram_gb: z.number().min(0).max(100_000).optional(),
});

/** Parameters handed to the runtime as they are (OpenAI names). */
const RuntimeParameters = {
  max_tokens: z.number().int().min(1).max(1_000_000).optional(),
  temperature: z.number().min(0).max(2).optional(),
  top_p: z.number().min(0).max(1).optional(),
  seed: z.number().int().optional(),
  stop: z.union([z.string().max(200), z.array(z.string().max(200)).max(16)]).optional(),
  tools: z
    .array(z.looseObject({ type: z.string().max(40) }))
    .max(128)
    .optional(),
  tool_choice: z.unknown().optional(),
  response_format: z.looseObject({ type: z.string().max(40) }).optional(),
  frequency_penalty: z.number().min(-2).max(2).optional(),
  presence_penalty: z.number().min(-2).max(2).optional(),
} as const;
/** Names of the fields that go to the runtime unchanged. */
export const RUNTIME_PARAMETERS = Object.keys(RuntimeParameters) as (keyof typeof RuntimeParameters)[];

/**
 * A job as anyone may submit it; `{"task_type":"chat","security_level":"P2"}` of SEED's curl is one (it can be routed,
 * and is refused at dispatch for want of `messages`). Unknown keys are ignored, so an older mesh serves newer clients;
 * an unknown `security_level` takes the policy's default, and one that looks like P0 or P1 counts as that where it is
 * stricter (classes.ts), so a typo never widens the class.
 */
export const JobRequest = z.object({
  job_id: JobId.optional(),
  /** Same key, same caller: the retry of a job, not a second one. */
  idempotency_key: z.string().min(1).max(200).optional(),
  task_type: SubjectToken.optional(),
  /** What the model is to do; chat, where nothing is said. Not the queue, which is `task_type`. */
  task: Task.optional(),
  security_level: z.string().max(64).optional(),
  model: ModelName.optional(),
  messages: z.array(ChatMessage).min(1).max(10_000).optional(),
  /** Short for one user message; of a completion the text that is gone on with. */
  prompt: z.string().min(1).optional(),
  ...TASK_CONTENT,
  /** Of an embedding: how long each vector is to be, where the model can shorten it. */
  dimensions: Count.min(1).max(65_536).optional(),
  /** Of a reranking: only the best so many. */
  top_n: Count.min(1).optional(),
  stream: z.boolean().optional(),
  /** Kept by the broker until it has ended; the reply is a receipt, and its caller asks later (durable.ts). */
  durable: z.boolean().optional(),
  requirements: Requirements.optional(),
  /** Jobs of one session prefer one node (prefix cache). */
  session_id: z.string().min(1).max(200).optional(),
  /** Absolute; every hop honours it. The earlier of this and `timeout_ms` counts. */
  deadline_unix_ms: UnixMs.optional(),
  timeout_ms: Ms.min(1).optional(),
  /** Wanted time to the first token (chat, rag) or to the end (media); default: the policy's `max_latency_ms`. */
  max_latency_ms: Ms.min(1).optional(),
  /** Nodes that must not run it: they refused it, or were lost with it. */
  exclude_nodes: z.array(NodeId).max(64).optional(),
  /** An answer that another node began: this one writes only what comes after it. */
  continue_from: z.string().min(1).optional(),
  /** For whom it is; recorded (caller.ts). */
  caller: Caller.optional(),
  /**
   * Its node commits to input and answer by it (commitments.ts); it goes where the content goes, and into no event. Without one
   * the node makes one, which is handed over with the end.
   */
  commitment_salt: KeyBytes.optional(),
  ...RuntimeParameters,
});
export type JobRequest = z.infer<typeof JobRequest>;
export type JobRequestInput = z.input<typeof JobRequest>;

/** Fields of a job that are its input, beside an answer's beginning: what `Commitments.input` is about. */
export const INPUT_FIELDS = [
  "messages",
  "prompt",
  "suffix",
  "input",
  "query",
  "documents",
] as const satisfies readonly (keyof JobRequest)[];

/** Every job ends once, in one of these ways (DESIGN promise 2). */
export const OUTCOMES = ["finished", "failed", "refused", "expired", "cancelled"] as const;
export const Outcome = z.enum(OUTCOMES);
export type Outcome = z.infer<typeof Outcome>;

export const Usage = z.object({
  prompt_tokens: Tokens,
  completion_tokens: Tokens,
  /** True when the runtime gave no counts and these are our estimate. */
  estimated: z.boolean().default(false),
});
export type Usage = z.infer<typeof Usage>;

/** What an answer cost by the price list of the node that ran it; `amount` in whole units of `currency` (ISO 4217). */
export const Cost = z.object({
  amount: z.number().min(0).max(1_000_000_000),
  currency: z.string().regex(/^[A-Z]{3}$/, "an ISO 4217 code such as USD"),
});
export type Cost = z.infer<typeof Cost>;

/** Where the time went, milliseconds, measured on the node. */
export const Timing = z.object({ queued_ms: Ms, ttft_ms: Ms.nullable(), total_ms: Ms });
export type Timing = z.infer<typeof Timing>;

/** The one ending of a job: the whole reply of `stream: false`, the last frame of a stream. */
export const JobResult = z.object({
  type: z.literal("end").default("end"),
  job_id: JobId,
  status: Outcome,
  security_level: DataClass.nullable().default(null),
  node_id: NodeId.nullable().default(null),
  layer: Layer.nullable().default(null),
  model: ModelName.nullable().default(null),
  /** True when a diagnostic runtime answered: no model was run. */
  diagnostic: z.boolean().default(false),
  message: z
    .object({ role: z.literal("assistant"), content: z.string().nullable(), tool_calls: z.array(ToolCall).optional() })
    .nullable()
    .default(null),
  /** Of a task that writes no text. */
  output: TaskOutput.nullable().default(null),
  finish_reason: z.string().max(40).nullable().default(null),
  usage: Usage.nullable().default(null),
  timing: Timing.nullable().default(null),
  /** Electricity that this run took on its node, its share where several ran at once; null = the node's power is not known. */
  energy_wh: WattHours.nullable().default(null),
  /** Id of the decision event; `tiermesh audit` finds it. */
  decision_id: z.string().max(64).nullable().default(null),
  attempts: Count.default(1),
  error: WireError.nullable().default(null),
  /** Of a stream that failed: its caller goes on elsewhere, and this is not recorded as its ending. */
  handed_back: z.boolean().default(false),
  /** Of a job that brought none: the salt by which its node committed to input and answer; kept nowhere else. */
  commitment_salt: KeyBytes.nullable().default(null),
});
export type JobResult = z.infer<typeof JobResult>;
export type JobResultInput = z.input<typeof JobResult>;

/** First frame of a stream: who runs it. */
export const AcceptedFrame = z.object({
  type: z.literal("accepted"),
  job_id: JobId,
  node_id: NodeId,
  layer: Layer,
  model: ModelName,
  security_level: DataClass,
  diagnostic: z.boolean().default(false),
  decision_id: z.string().max(64).nullable().default(null),
  /** The model is not in memory: about so long until it is. null when it is, or when the runtime does not say. */
  cold_start_ms: Ms.nullable().default(null),
});
/** A piece of the answer. `tool_calls` in OpenAI's streaming shape. */
export const DeltaFrame = z.object({
  type: z.literal("delta"),
  content: z.string().optional(),
  reasoning: z.string().optional(),
  tool_calls: z.array(z.looseObject({ index: Count })).optional(),
});
export type DeltaFrame = z.infer<typeof DeltaFrame>;
/**
 * Sent about once a second while there is nothing else to say, so that a silent node is noticed. Before `accepted` and without
 * a `Mesh-Seq` it is the router's: the job waits there for a free node.
 */
export const WorkingFrame = z.object({ type: z.literal("working"), queued: z.boolean().default(false) });

/**
 * A reply to a job with `stream: true`, in the order of `Mesh-Seq`: accepted, then delta and working, then end; while the job
 * waits in its router, working without a number before them.
 */
export const StreamFrame = z.discriminatedUnion("type", [AcceptedFrame, DeltaFrame, WorkingFrame, JobResult]);
export type StreamFrame = z.infer<typeof StreamFrame>;

/** The job's task queue as its router named it, so that the other routers know which cap it counts against; null = not told. */
const VerdictQueue = SubjectToken.nullable().default(null);
/**
 * A router's word to a caller that goes on by itself (`Mesh-Resume`, or a sealed job's): the node that had the job is lost.
 * It has no `Mesh-Seq`; it is no ending.
 */
export const LostNotice = z.object({
  type: z.literal("lost"),
  job_id: JobId,
  node_id: NodeId,
  /** So many further tries there may be. */
  attempts_left: Count,
});
export type LostNotice = z.infer<typeof LostNotice>;

/** agent → router: takes the job, refuses it (within 250 ms), or has ended it. Always with the fresh load. */
export const Verdict = z.discriminatedUnion("type", [
  z.object({ type: z.literal("accepted"), job_id: JobId, node_id: NodeId, queue: VerdictQueue, load: Load }),
  z.object({
    type: z.literal("refused"),
    job_id: JobId,
    node_id: NodeId,
    queue: VerdictQueue,
    load: Load,
    error: WireError,
  }),
  z.object({
    type: z.literal("ended"),
    job_id: JobId,
    node_id: NodeId,
    queue: VerdictQueue,
    load: Load,
    status: Outcome,
    timing: Timing.nullable(),
    /** Why it did not finish. */
    error: WireError.nullable().default(null),
    /** The try failed and the job goes on elsewhere: its ending is not recorded, and where the router goes on not told. */
    handed_back: z.boolean().default(false),
  }),
]);
export type Verdict = z.infer<typeof Verdict>;

/** router → agent: whether a job that was accepted is still that node's. If not, another has it, and nothing of it may be told. */
export const GoAhead = z.object({ go: z.boolean() });
export type GoAhead = z.infer<typeof GoAhead>;

/** router → agent: an ending was heard, and need not be told again. */
export const Heard = z.object({
  heard: z.literal(true),
  /** Of a job that was handed back: may the router go on with it? The node answers with a GoAhead. */
  take: z.boolean().default(false),
});
export type Heard = z.infer<typeof Heard>;

/** Body of a cancel; an empty one is a plain cancel. */
export const CancelRequest = z.object({
  /** The caller has submitted the job again and wants no ending of this try. */
  superseded: z.boolean().default(false),
  /** Only runs with an older fencing token than this stop. */
  fence: z.number().int().min(0).optional(),
  /** Only the try on this node; the job goes on elsewhere. */
  node_id: NodeId.optional(),
  /** It cannot go on: the caller was told of the node's loss and has ended the job. */
  gave_up: z.boolean().default(false),
  /** A router's word to nodes; routers do not heed it. */
  by_router: z.boolean().default(false),
});
export type CancelRequest = z.infer<typeof CancelRequest>;
