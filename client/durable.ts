import { errors, type Msg } from "@nats-io/nats-core";
import { z } from "zod";
import {
  DESK_REPLIES,
  HEADERS,
  JobReceipt,
  JobRequest,
  JobResult,
  JobStatus,
  MeshError,
  SubjectToken,
  WireError,
  parseOrThrow,
  type DESK_REQUESTS,
  type CallerInput,
  type DataClass,
  type DeskReply,
  type DeskVerb,
  type JobRequestInput,
} from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import { decode, encode } from "../service/codec.ts";
import { jobIdOfKey, newId } from "../service/ids.ts";
import { pause } from "../service/loop.ts";
import { header, headersFor } from "../service/messages.ts";
import { Identity } from "./identity.ts";

export interface EnqueueOptions {
  /** Task queue; by default the request's `task_type`, and without one `rag`. */
  queue?: string;
  /** Data class beside the request's `security_level`; the stricter counts. */
  dataClass?: DataClass;
  traceparent?: string;
  /** For whom the job is; recorded with it, not checked by anybody. */
  caller?: CallerInput;
  /** Aborting stops asking; the job is not cancelled by it. */
  signal?: AbortSignal;
}

const DEFAULT_QUEUE = "rag";
/** An answer comes within this time or not at all, milliseconds. */
const ANSWER_LIMIT_MS = 2000;
/** Without an answer in this time the request goes to another router, too, milliseconds: the first one may hang. */
const ASK_AGAIN_MS = 500;
/** The same at the desk, where one request may be about thousands of jobs, milliseconds. */
const DESK_LIMIT_MS = 30_000;
/** Routers or the bus may be away for so long, milliseconds; every request is safe to send again. */
const AWAY_LIMIT_MS = 20_000;
/** How often a job is looked at that is waited for: at first, and later, milliseconds. */
const LOOK_MS = { first: 100, most: 2000 };

/**
 * Calls about durable jobs (ADR 0019). All throw a MeshError: the mesh's own, `no_router` when none answers for a while,
 * `cancelled` when the signal aborts.
 */
export class DurableCalls {
  readonly #bus: Bus;
  readonly #identity: Pick<Identity, "on">;

  constructor(bus: Bus, identity: Pick<Identity, "on"> = new Identity({})) {
    this.#bus = bus;
    this.#identity = identity;
  }

  /** Puts a job in its queue. The same id or idempotency key with the same job again is no second job. */
  async enqueue(request: JobRequestInput, options: EnqueueOptions = {}): Promise<JobReceipt> {
    const { signal, dataClass, traceparent, caller } = options;
    parseOrThrow(JobRequest, request);
    const queue = parseOrThrow(SubjectToken, options.queue ?? request.task_type ?? DEFAULT_QUEUE);
    // What is sent again is the same job.
    const { idempotency_key: key } = request;
    const jobId = request.job_id ?? (key === undefined ? newId() : jobIdOfKey(key));
    const job = await this.#identity.on(request, jobId, caller);
    const body = { ...job, ...(key === undefined ? { job_id: jobId } : {}), durable: true };
    const headers = { [HEADERS.dataClass]: dataClass, [HEADERS.traceparent]: traceparent };
    const reply = await this.#ask(this.#bus.subjects.submit(queue), body, headers, signal);
    const refused = JobResult.safeParse(reply);
    if (refused.success && refused.data.error !== null) throw MeshError.fromWire(refused.data.error);
    return parseOrThrow(JobReceipt, reply, "internal");
  }

  /** @throws MeshError `not_found` */
  async status(jobId: string, signal?: AbortSignal): Promise<JobStatus> {
    return this.#about(this.#bus.subjects.status, jobId, signal);
  }

  /** Ends a job that waits or runs. */
  async withdraw(jobId: string, signal?: AbortSignal): Promise<JobStatus> {
    return this.#about(this.#bus.subjects.withdraw, jobId, signal);
  }

  /** Asks until the job has ended, or is dead. */
  async waitFor(jobId: string, signal?: AbortSignal): Promise<JobStatus> {
    for (let lookMs = LOOK_MS.first; ; lookMs = Math.min(lookMs * 1.5, LOOK_MS.most)) {
      const status = await this.status(jobId, signal);
      if (status.state !== "queued" && status.state !== "running") return status;
      await pause(lookMs, signal);
    }
  }

  /** An operator's question to the desk of the queues. */
  async desk<V extends DeskVerb>(
    verb: V,
    asked: z.input<(typeof DESK_REQUESTS)[V]>,
    signal?: AbortSignal,
  ): Promise<DeskReply<V>> {
    const reply = await this.#ask(this.#bus.subjects.desk(verb), asked, {}, signal, DESK_LIMIT_MS);
    throwRefusal(reply);
    return parseOrThrow(DESK_REPLIES[verb], reply, "internal") as DeskReply<V>;
  }

  async #about(subject: string, jobId: string, signal: AbortSignal | undefined): Promise<JobStatus> {
    const reply = await this.#ask(subject, { job_id: jobId }, {}, signal);
    throwRefusal(reply);
    return parseOrThrow(JobStatus, reply, "internal");
  }

  async #ask(
    subject: string,
    asked: unknown,
    others: Record<string, string | undefined>,
    signal: AbortSignal | undefined,
    timeout = ANSWER_LIMIT_MS,
  ): Promise<unknown> {
    const body = encode(asked, "shared");
    const untilMs = Date.now() + AWAY_LIMIT_MS;
    const answer = Promise.withResolvers<Msg>();
    answer.promise.catch(() => undefined);
    let last: unknown;
    const onFailed = (cause: unknown) => {
      last = cause;
      const final = this.#finalError(cause);
      if (final !== undefined) answer.reject(final);
    };
    do {
      if (signal?.aborted === true) throw new MeshError("cancelled", "the caller stopped asking");
      const headers = headersFor("shared", others);
      this.#bus.nc.request(subject, body, { timeout, headers }).then(answer.resolve, onFailed);
      // A router that hangs must not hold up who asks: while the request is under way another one gets it, too.
      const reply = await orNothing(answer.promise, timeout === ANSWER_LIMIT_MS ? ASK_AGAIN_MS : timeout, signal);
      if (reply !== undefined) return decode(reply.data, header(reply, HEADERS.contentType));
    } while (Date.now() < untilMs);
    throw new MeshError("no_router", "no router answers; is the mesh up? (tiermesh status)", { cause: last });
  }

  /** What asking again does not help against. */
  #finalError(cause: unknown): MeshError | undefined {
    if (cause instanceof errors.InvalidArgumentError)
      return new MeshError("payload_too_large", "the job is larger than the bus takes", { cause });
    if (cause instanceof errors.PermissionViolationError || isRefusedByBus(cause))
      return new MeshError("forbidden", "the bus lets only an operator's key do this", { cause });
    if (this.#bus.nc.isClosed() || this.#bus.nc.isDraining())
      return new MeshError("bus_unavailable", "the connection to the bus is closed", { cause });
    return undefined;
  }
}

/** What comes within the time, or before the signal. */
async function orNothing<T>(promise: Promise<T>, limitMs: number, signal?: AbortSignal): Promise<T | undefined> {
  const done = new AbortController();
  const stop = signal === undefined ? done.signal : AbortSignal.any([done.signal, signal]);
  try {
    return (await Promise.race([promise, pause(limitMs, stop)])) ?? undefined;
  } finally {
    done.abort();
  }
}

/** The library wraps what the bus says to a request. */
function isRefusedByBus(cause: unknown): boolean {
  return cause instanceof Error && cause.cause instanceof errors.PermissionViolationError;
}

function throwRefusal(reply: unknown): void {
  const refused = z.object({ error: WireError, type: z.undefined().optional() }).safeParse(reply);
  if (refused.success) throw MeshError.fromWire(refused.data.error);
}
