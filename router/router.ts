import type { Msg, Subscription } from "@nats-io/nats-core";
import {
  HEADERS,
  JobId,
  JobRequest,
  MeshError,
  ROUTER_QUEUE_GROUP,
  RouteQuery,
  isInbox,
  lastToken,
} from "../bus-schemas/index.ts";
import { jobIdOfKey, newId } from "../service/ids.ts";
import { classHeader, header, readJob, respond } from "../service/messages.ts";
import { learnFromPeer } from "../service/structures-exchange.ts";
import { answerEnding } from "./answer.ts";
import { recordMismatch } from "./class-mismatch.ts";
import type { Dispatcher } from "./dispatcher.ts";
import type { DurableJobs } from "./durable/index.ts";
import type { RouterParts } from "./parts.ts";
import { decide } from "./policy/decide.ts";
import type { RouteRequest } from "./policy/types.ts";
import { toRouteRequest } from "./route-request.ts";
import type { Tickets } from "./tickets.ts";
import { plainJob } from "./waiting/plain-job.ts";

/** Jobs that wait for a node's word; beyond it new ones are refused. */
const MAX_WAITING = 20_000;

type Keeper = Pick<DurableJobs, "keep">;

/** Of a router that keeps no durable jobs. */
const KEEPS_NONE: Keeper = {
  keep: () => Promise.reject(new MeshError("bus_unavailable", "this router keeps no durable jobs")),
};

/** Takes jobs, decides, records, dispatches. The answer never passes through here. */
export class Router {
  readonly #parts: RouterParts;
  readonly #dispatcher: Dispatcher;
  readonly #tickets: Tickets;
  readonly #durable: Keeper;
  /** What `nats micro stats` shows; errors are requests that could not be understood. */
  readonly stats = { submit: { requests: 0, errors: 0 }, route: { requests: 0, errors: 0 } };
  #subscriptions: Subscription[] = [];

  constructor(parts: RouterParts, dispatcher: Dispatcher, tickets: Tickets, durable: Keeper = KEEPS_NONE) {
    this.#parts = parts;
    this.#dispatcher = dispatcher;
    this.#tickets = tickets;
    this.#durable = durable;
  }

  /** Subscribes; jobs arrive from now on. */
  start(): void {
    const { bus } = this.#parts;
    this.#subscriptions = [
      bus.listen(bus.subjects.route, (msg) => this.#onRoute(msg), ROUTER_QUEUE_GROUP),
      bus.listen(bus.subjects.submits, (msg) => this.#onSubmit(msg), ROUTER_QUEUE_GROUP),
    ];
  }

  /** Takes no more jobs: what is already on its way here is still served, the rest goes to the other routers. */
  async stop(): Promise<void> {
    await Promise.all(this.#subscriptions.map((subscription) => subscription.drain()));
  }

  #onSubmit(msg: Msg): void {
    this.stats.submit.requests++;
    const jobId = header(msg, HEADERS.job) ?? newId();
    let job: JobRequest;
    let request: RouteRequest | undefined;
    try {
      ({ job, request } = this.#admit(msg, jobId));
      if (request === undefined) return void this.#keep(msg, job, jobId);
    } catch (error) {
      return this.#refuseMalformed(msg, jobId, error);
    }
    try {
      const attempt = Number(header(msg, HEADERS.attempt) ?? 1) || 1;
      if (this.#dispatcher.known.submitted(request.jobId, msg, attempt, request.deadlineMs) === "joined") return;
    } catch (error) {
      // Not an ending of the job that has this id: nothing is recorded of it.
      return this.#refuseMalformed(msg, request.jobId, error);
    }
    try {
      recordMismatch(this.#parts.events, msg, job, request);
    } catch (cause) {
      const error = MeshError.from(cause);
      if (error.code === "internal")
        this.#parts.log.error({ err: cause, job: request.jobId }, "a job could not be routed");
      this.#dispatcher.end({ message: msg, jobId: request.jobId, error, attempts: 1, dataClass: request.dataClass });
      return;
    }
    const stream = job.stream === true;
    this.#dispatcher.line.enter(plainJob(this.#parts, this.#dispatcher, { message: msg, request, attempt: 1, stream }));
  }

  /** Checks a job before anything is decided; nothing is, of one that is durable. @throws MeshError naming the field. */
  #admit(msg: Msg, jobId: string): { job: JobRequest; request: RouteRequest | undefined } {
    if (!isInbox(msg.reply ?? "")) throw noInbox();
    const job = readJob(msg, JobRequest);
    if (job.messages === undefined && job.prompt === undefined) {
      throw new MeshError("bad_request", "messages: a job needs messages or a prompt", { field: "messages" });
    }
    if (this.#dispatcher.inFlight.waiting >= MAX_WAITING)
      throw new MeshError("all_busy", "this router has too many jobs waiting", { retryAfterMs: 1000 });
    if (job.job_id === undefined && !JobId.safeParse(jobId).success)
      throw new MeshError("bad_request", "Mesh-Job: 8 to 64 letters, digits, _ and -", { field: HEADERS.job });
    if (job.durable === true) return { job, request: undefined };
    const ofKey = job.idempotency_key === undefined ? undefined : jobIdOfKey(job.idempotency_key);
    const id = job.job_id ?? header(msg, HEADERS.job) ?? ofKey ?? jobId;
    return { job, request: this.#toRequest(msg, job, id, lastToken(msg.subject), false) };
  }

  /** @param sealed the job goes to its node sealed; a body that was submitted did not */
  #toRequest(msg: Msg, job: RouteQuery, jobId: string, queue: string, sealed: boolean): RouteRequest {
    const deadline = header(msg, HEADERS.deadline);
    // Ignored, a misspelt deadline would be believed by its caller.
    if (deadline !== undefined && !/^\d{1,15}$/.test(deadline))
      throw new MeshError("bad_request", "Mesh-Deadline: must be whole milliseconds", { field: HEADERS.deadline });
    const envelope = {
      jobId,
      queue,
      headerClass: classHeader(msg),
      headerDeadlineMs: deadline === undefined ? undefined : Number(deadline),
      bodyBytes: msg.data.length,
      encrypted: sealed,
    };
    return toRouteRequest(job, envelope, this.#parts.policy().routing, Date.now());
  }

  async #keep(msg: Msg, job: JobRequest, jobId: string): Promise<void> {
    try {
      await this.#durable.keep(msg, job, header(msg, HEADERS.job), lastToken(msg.subject));
    } catch (cause) {
      const error = MeshError.from(cause);
      if (!error.retryable) return this.#refuseMalformed(msg, jobId, cause);
      // Nothing is wrong with the job.
      answerEnding({ message: msg, jobId: job.job_id ?? jobId, error, attempts: 1 });
    }
  }

  #onRoute(msg: Msg): void {
    this.stats.route.requests++;
    if (!isInbox(msg.reply ?? "")) return this.#parts.rejections.add("route", noInbox());
    try {
      const job = readJob(msg, RouteQuery);
      // Where a job would go: a class that must be sealed goes there sealed.
      const request = this.#toRequest(msg, job, job.job_id ?? newId(), job.task_type ?? "chat", true);
      if (job.ticket === true) return this.#tickets.answer(msg, job, request);
      respond(
        msg,
        decide(request, this.#parts.fleet.fleet, this.#parts.policy(), Date.now(), this.#parts.random, "all"),
      );
    } catch (error) {
      const rejection = MeshError.from(error);
      this.stats.route.errors++;
      this.#parts.rejections.add("route", rejection);
      respond(msg, { error: rejection.toWire() });
    }
  }

  #refuseMalformed(msg: Msg, jobId: string, cause: unknown): void {
    const error = MeshError.from(cause);
    if (error.code === "internal") this.#parts.log.error({ err: cause }, "a job could not be read");
    if (error.code === "codec_unknown") learnFromPeer(this.#parts.bus, header(msg, HEADERS.contentType));
    this.stats.submit.errors++;
    this.#parts.rejections.add("submit", error);
    // Nothing is said on a subject that is no inbox: a caller cannot make the router speak on the mesh's own subjects.
    if (!isInbox(msg.reply ?? "")) return;
    const safeId = JobId.safeParse(jobId).success ? jobId : newId();
    answerEnding({ message: msg, jobId: safeId, error, attempts: 1 });
  }
}

function noInbox(): MeshError {
  return new MeshError("bad_request", "a job needs an inbox for its answer: use a NATS request", { field: "reply" });
}
