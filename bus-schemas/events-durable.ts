import { z } from "zod";
import { Caller } from "./caller.ts";
import { Layer } from "./classes.ts";
import { Commitments } from "./commitments.ts";
import { WireError } from "./errors.ts";
import { Cost, Outcome, Timing, Usage } from "./job.ts";
import { Count, JobId, Label, ModelName, NodeId, SubjectToken, UnixMs, WattHours } from "./units.ts";

/** Events of durable jobs (ADR 0019); a part of `EVENTS`. */
export const DURABLE_EVENTS = {
  job_queued: {
    by: ["router"],
    ofJob: true,
    summary: "The broker keeps a durable job from now on, until it has ended.",
    data: z.object({
      job_id: JobId,
      queue: SubjectToken,
      /** Epoch milliseconds. */
      deadline_unix_ms: UnixMs,
      request_bytes: Count.max(100_000_000),
    }),
  },
  job_requeued: {
    by: ["router"],
    ofJob: true,
    summary: "A person sent a dead job back to its queue.",
    data: z.object({ job_id: JobId, queue: SubjectToken, by: Label, deadline_unix_ms: UnixMs }),
  },
  job_dead: {
    by: ["router"],
    ofJob: true,
    summary:
      "A durable job failed for good: its caller is told so, and it lies among the dead letters until a person decides.",
    data: z.object({
      job_id: JobId,
      queue: SubjectToken,
      attempts: Count,
      node_id: NodeId.nullable(),
      error: WireError,
      /** As the job said it. */
      caller: Caller.optional(),
    }),
  },
  letter_filed: {
    by: ["router"],
    ofJob: false,
    summary: "A message in a queue was no job; it lies among the dead letters.",
    data: z.object({ letter: SubjectToken, queue: SubjectToken, error: WireError }),
  },
  letter_dropped: {
    by: ["router"],
    ofJob: false,
    summary: "A person threw a dead letter away.",
    data: z.object({ letter: SubjectToken, queue: SubjectToken, by: Label }),
  },
  job_run_ended: {
    by: ["agent"],
    ofJob: true,
    summary: "A run of a durable job ended on its node; which run counts is the router's to say, by job_ended.",
    data: z.object({
      job_id: JobId,
      /** Fencing token of the run. */
      fence: z.number().int().min(0),
      status: Outcome,
      node_id: NodeId,
      layer: Layer,
      model: ModelName,
      decision_id: z.string().max(64).nullable(),
      usage: Usage.nullable(),
      cost: Cost.optional(),
      /** Electricity of the run; only where the node's power is known. */
      energy_wh: WattHours.optional(),
      commitments: Commitments.optional(),
      timing: Timing.nullable(),
      error: WireError.nullable(),
    }),
  },
} as const;
