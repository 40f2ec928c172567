import {
  effectiveClass,
  estimatePromptTokens,
  MeshError,
  TASK_CAPABILITY,
  type DataClass,
  type JobRequest,
  type RouteQuery,
  type RoutingPolicy,
} from "../bus-schemas/index.ts";
import { suggest } from "../service/config.ts";
import type { RouteRequest } from "./policy/types.ts";

/** What came with the job outside its body. */
export interface Envelope {
  jobId: string;
  queue: string;
  headerClass: string | undefined;
  headerDeadlineMs: number | undefined;
  bodyBytes: number;
  /** Nobody but the node reads the job: it goes there sealed. */
  encrypted: boolean;
}

/** Answer length assumed when the job sets no `max_tokens`; the Azure 2023 conversation trace has a median near 130 and a mean near 210. */
export const EXPECTED_OUTPUT_TOKENS = 210;

/**
 * A checked job as the decision sees it.
 * @throws MeshError `unknown_queue`, or `deadline_exceeded` when the deadline has passed.
 */
export function toRouteRequest(
  job: RouteQuery,
  envelope: Envelope,
  policy: RoutingPolicy,
  nowMs: number,
): RouteRequest {
  // Own keys only: "constructor" is a token too.
  const queue = Object.hasOwn(policy.task_queues, envelope.queue) ? policy.task_queues[envelope.queue] : undefined;
  if (queue === undefined) {
    const known = Object.keys(policy.task_queues);
    throw new MeshError(
      "unknown_queue",
      `no queue "${envelope.queue}"${suggest(envelope.queue, known)}; there are ${known.join(", ")}`,
      { field: "task_type" },
    );
  }
  const promptTokens = job.prompt_tokens ?? estimatePromptTokens(job, envelope.bodyBytes);
  const deadlineMs = Math.min(
    job.deadline_unix_ms ?? Infinity,
    envelope.headerDeadlineMs ?? Infinity,
    nowMs + (job.timeout_ms ?? queue.timeout_ms),
  );
  // A task without text writes nothing, and reads its texts one by one: together they say nothing about the window.
  const writes = job.task !== "embedding" && job.task !== "rerank";
  if (deadlineMs <= nowMs)
    throw new MeshError("deadline_exceeded", "the deadline has passed", { field: "deadline_unix_ms" });
  return {
    jobId: envelope.jobId,
    taskType: envelope.queue,
    dataClass: classOf(job, envelope, policy),
    model: job.model === undefined || job.model === "auto" ? undefined : job.model,
    capabilities: capabilitiesFor(job),
    promptTokens,
    expectedOutputTokens: writes ? Math.min(job.max_tokens ?? EXPECTED_OUTPUT_TOKENS, EXPECTED_OUTPUT_TOKENS) : 0,
    contextTokens: job.requirements?.context_length ?? (writes ? promptTokens + (job.max_tokens ?? 0) : 0),
    vramGb: job.requirements?.vram_gb,
    encrypted: envelope.encrypted,
    anonymised: false,
    sessionId: job.session_id,
    deadlineMs,
    sloMs: job.max_latency_ms ?? policy.defaults.max_latency_ms,
    batch: queue.batch_window_ms !== undefined,
    continues: job.continues === true || job.continue_from !== undefined,
    caller: job.caller,
    exclude: job.exclude_nodes === undefined ? NOBODY : new Set(job.exclude_nodes),
  };
}

/** What the model must be able to do: what the job says, and what its task needs. */
function capabilitiesFor({ requirements, task }: RouteQuery): string[] {
  const wanted = requirements?.capabilities ?? [];
  const own = TASK_CAPABILITY[task ?? "chat"];
  return own === undefined || wanted.includes(own) ? wanted : [...wanted, own];
}

const NOBODY: ReadonlySet<string> = new Set();

/** The class a job is handled under: the strictest of header and body, by the policy's default (bus-schemas/classes.ts). */
export function classOf(
  job: Pick<JobRequest, "security_level">,
  envelope: Pick<Envelope, "headerClass">,
  policy: RoutingPolicy,
): DataClass {
  return effectiveClass([envelope.headerClass, job.security_level], policy.default_level);
}
