import { z } from "zod";
import { address, type Channel } from "./channel.ts";
import { DESK_REPLIES, DESK_REQUESTS, DESK_VERBS, DurableRecord, JobQuery, JobStatus } from "./durable.ts";
import { WireError } from "./errors.ts";
import { JobRequest, JobResult } from "./job.ts";

const status = { name: "JobStatus", summary: "The job as it is now.", schema: JobStatus };
const refused = {
  name: "Refused",
  summary: "Why there is no other answer.",
  schema: z.object({ error: WireError }),
};

/** Part of the bus contract: durable jobs (ADR 0019). */
export const DURABLE_CHANNELS: readonly Channel[] = [
  {
    name: "jobStatus",
    address: address((s) => s.status),
    from: "client",
    to: "router (one of a queue group)",
    guarantee: "Request; one reply. Whoever knows the id of a durable job may ask for it.",
    messages: [{ name: "JobQuery", summary: "Which durable job.", schema: JobQuery }],
    reply: [status, refused],
  },
  {
    name: "jobWithdraw",
    address: address((s) => s.withdraw),
    from: "client",
    to: "router (one of a queue group)",
    guarantee:
      "Request; one reply. A durable job that waits or runs ends as cancelled; one that has ended stays as it is.",
    messages: [{ name: "JobWithdrawn", summary: "Which durable job.", schema: JobQuery }],
    reply: [status, refused],
  },
  {
    name: "queueWork",
    address: address((s) => s.work("_queue_", "_job_")),
    from: "router",
    to: "JetStream stream JOBS",
    guarantee:
      "Kept until the job has ended; one consumer a queue, whose max_ack_pending is the queue's max_concurrency.",
    messages: [{ name: "QueuedJob", summary: "A durable job.", schema: JobRequest, headers: "job" }],
  },
  {
    name: "queueState",
    address: address((s) => s.jobState("_job_")),
    from: "router",
    to: "JetStream stream JOB_STATES",
    guarantee: "Each message is a compare-and-set on the one before of the same job.",
    messages: [{ name: "DurableRecord", summary: "State of a durable job.", schema: DurableRecord }],
  },
  {
    name: "queueResult",
    address: address((s) => s.jobResult("_job_", "_fence_")),
    from: "router",
    to: "JetStream stream JOB_RESULTS",
    guarantee: "Counts when the job's state names its fencing token.",
    messages: [{ name: "KeptResult", summary: "What a run answered.", schema: JobResult }],
  },
  {
    name: "queueLetter",
    address: address((s) => s.letter("_queue_", "_letter_")),
    from: "router",
    to: "JetStream stream JOB_LETTERS",
    guarantee: "The message as it was in the queue; Mesh-Letter says why it died.",
    messages: [{ name: "DeadLetterBody", summary: "A job that died, or what was no job.", schema: z.unknown() }],
  },
  {
    name: "queueDesk",
    address: address((s) => s.desk("_verb_")),
    from: "operator",
    to: "router (one of a queue group)",
    guarantee: "Request; one reply.",
    messages: DESK_VERBS.map((verb) => ({
      name: `Desk_${verb}`,
      summary: `Body of queue.desk.${verb}.`,
      schema: DESK_REQUESTS[verb],
    })),
    reply: [
      ...DESK_VERBS.map((verb) => ({
        name: `Desk_${verb}_reply`,
        summary: `Answer to queue.desk.${verb}.`,
        schema: DESK_REPLIES[verb],
      })),
      refused,
    ],
  },
];
