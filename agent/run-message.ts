import type { Msg } from "@nats-io/nats-core";
import {
  GO_AHEAD,
  HEADERS,
  JobId,
  JobRequest,
  MeshError,
  SubjectToken,
  estimatePromptTokens,
  isInbox,
  type DataClass,
} from "../bus-schemas/index.ts";
import { classHeader, header, readJob } from "../service/messages.ts";
import { bodyDeclares } from "./ask.ts";
import { contentOf } from "./job-content.ts";
import type { JobFacts } from "./job.ts";

/** As in the frames (bus-schemas/job.ts), characters. */
const MAX_DECISION_ID_CHARS = 64;

/** A job as its router sent it here. @throws MeshError naming the field. */
export function readRun(msg: Msg, dataClass: DataClass): JobFacts {
  const request = readJob(msg, JobRequest);
  const inbox = header(msg, HEADERS.reply);
  const model = header(msg, HEADERS.model);
  const deadlineMs = Number(header(msg, HEADERS.deadline));
  const attempt = header(msg, HEADERS.attempt) ?? "1";
  const decisionId = header(msg, HEADERS.decision) ?? null;
  // A job cannot make an agent speak on the mesh's own subjects.
  if (inbox === undefined || !isInbox(inbox))
    throw new MeshError("bad_request", "Mesh-Reply: not an inbox", { field: HEADERS.reply });
  if (model === undefined) throw new MeshError("bad_request", "Mesh-Model: missing", { field: HEADERS.model });
  if (!Number.isFinite(deadlineMs))
    throw new MeshError("bad_request", "Mesh-Deadline: not a time", { field: HEADERS.deadline });
  // What follows goes into frames and events, whose schemas would refuse the job's ending.
  if (!/^[1-9]\d{0,3}$/.test(attempt))
    throw new MeshError("bad_request", "Mesh-Attempt: a whole number from 1 to 9999", { field: HEADERS.attempt });
  const fence = header(msg, HEADERS.fence);
  if (fence !== undefined && !/^\d{1,15}$/.test(fence))
    throw new MeshError("bad_request", "Mesh-Fence: not a number", { field: HEADERS.fence });
  if (decisionId !== null && decisionId.length > MAX_DECISION_ID_CHARS)
    throw new MeshError("bad_request", "Mesh-Decision: too long", { field: HEADERS.decision });
  return {
    jobId: jobIdOf(msg),
    request,
    ...contentOf(request),
    dataClass,
    declared: { subject: dataClass, header: classHeader(msg), body: bodyDeclares(request) },
    model,
    inbox,
    deadlineMs,
    attempt: Number(attempt),
    queue: queueOf(msg),
    decisionId,
    traceparent: header(msg, HEADERS.traceparent),
    promptTokens: estimatePromptTokens(request, msg.data.length),
    sealed: false,
    ...(fence === undefined ? {} : { fence: Number(fence) }),
    // What tells a durable job's runs apart is their fencing token.
    goAhead: fence === undefined ? goAheadOf(msg) : undefined,
    handBack: handBackOf(msg, request.stream === true),
  };
}

/** As the router named it, or null: a verdict must not fail for it. */
export function queueOf(msg: Msg): string | null {
  return SubjectToken.safeParse(header(msg, HEADERS.queue)).data ?? null;
}

/** A whole answer is its router's to ask for again, a stream its caller's. */
function handBackOf(msg: Msg, stream: boolean): JobFacts["handBack"] {
  const who = stream ? "caller" : "router";
  return header(msg, HEADERS.handBack) === who ? who : undefined;
}

/** What this version does not know is asked for at once. */
function goAheadOf(msg: Msg): JobFacts["goAhead"] {
  const when = header(msg, HEADERS.goAhead);
  if (when === undefined) return undefined;
  return when === GO_AHEAD.whenItSpeaks ? "when it speaks" : "at once";
}

/** @throws MeshError naming the header. */
function jobIdOf(msg: Msg): string {
  const jobId = JobId.safeParse(header(msg, HEADERS.job));
  if (jobId.success) return jobId.data;
  throw new MeshError("bad_request", "Mesh-Job: 8 to 64 letters, digits, _ and -", { field: HEADERS.job });
}
