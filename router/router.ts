import type { Msg } from "@nats-io/nats-core";
import {
  HEADERS,
  JobRequest,
  MeshError,
  ROUTER_QUEUE_GROUP,
  Verdict,
  lastToken,
  type DataClass,
  type Decision,
  type RoutingPolicy,
} from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import type { EventPublisher } from "../service/events.ts";
import { newId } from "../service/ids.ts";
import type { Log } from "../service/log.ts";
import { header, headersFor, readBody, respond } from "../service/messages.ts";
import type { Rejections } from "../service/rejections.ts";
import { within } from "../service/within.ts";
import { learnFromPeer } from "../service/structures-exchange.ts";
import { answerEnding } from "./answer.ts";
import { DispatchTable, type Dispatch } from "./dispatch-table.ts";
import type { FleetView } from "./fleet-view.ts";
import type { RouterMetrics } from "./metrics.ts";
import { decide } from "./policy/decide.ts";
import type { Policy, RouteRequest } from "./policy/types.ts";
import { toRouteRequest } from "./route-request.ts";

export interface RouterParts {
  id: string;
  bus: Bus;
  fleet: FleetView;
  events: EventPublisher;
  rejections: Rejections;
  metrics: RouterMetrics;
  log: Log;
  policy: () => Policy;
  routing: () => RoutingPolicy;
  /** The way to the nodes cannot be read by others: loopback or TLS. */
  transportProtected: boolean;
  random?: () => number;
}

/** A node says accepted or refused within this time, or the job goes to the next one, milliseconds (DESIGN promise 6). */
export const ACCEPT_LIMIT_MS = 250;
/** P0 and P1 wait this long for their decision to be durable, then are refused, milliseconds. */
const AUDIT_LIMIT_MS = 1500;
/** Jobs that wait for a node's word; beyond it new ones are refused. */
const MAX_WAITING = 20_000;
/** A running job whose node never reported the ending is forgotten this long after its deadline, milliseconds. */
const FORGET_AFTER_MS = 10_000;

/** Takes jobs, decides, records, dispatches. The answer never passes through here. */
export class Router {
  readonly #parts: RouterParts;
  readonly #table = new DispatchTable();
  readonly #random: () => number;

  constructor(parts: RouterParts) {
    this.#parts = parts;
    this.#random = parts.random ?? Math.random;
    parts.fleet.onLost((nodeId) => this.#onNodeLost(nodeId));
  }

  get inFlight(): { waiting: number; running: number } {
    return { waiting: this.#table.waitingCount, running: this.#table.runningCount };
  }

  /** Subscribes; jobs arrive from now on. */
  start(): void {
    const { bus, id } = this.#parts;
    bus.listen(bus.subjects.verdicts(id), (msg) => this.#onVerdict(msg));
    bus.listen(bus.subjects.cancels, (msg) => this.#onCancel(msg));
    bus.listen(bus.subjects.route, (msg) => this.#onRoute(msg), ROUTER_QUEUE_GROUP);
    bus.listen(bus.subjects.submits, (msg) => void this.#onSubmit(msg), ROUTER_QUEUE_GROUP);
  }

  /** Re-picks jobs whose node kept silent; call it a few times per `ACCEPT_LIMIT_MS`. */
  sweep(): void {
    for (const dispatch of this.#table.takeSilent(performance.now() - ACCEPT_LIMIT_MS)) {
      this.#parts.fleet.onSilent(dispatch.nodeId);
      this.#redispatch(dispatch, new MeshError("node_lost", `${dispatch.nodeId} did not answer within ${ACCEPT_LIMIT_MS} ms`));
    }
    const beforeMs = Date.now() - FORGET_AFTER_MS;
    for (const dispatch of this.#table.takeRunning((running) => running.request.deadlineMs < beforeMs)) this.#parts.fleet.onDone(dispatch.nodeId);
  }

  async #onSubmit(msg: Msg): Promise<void> {
    const jobId = header(msg, HEADERS.job) ?? newId();
    let admitted: { jobId: string; request: RouteRequest };
    try {
      admitted = this.#admit(msg, jobId);
    } catch (error) {
      return this.#refuseMalformed(msg, jobId, error);
    }
    const { request } = admitted;
    try {
      const decision = decide(request, this.#parts.fleet.fleet, this.#parts.policy(), Date.now(), this.#random);
      await this.#go(msg, admitted.jobId, request, decision);
    } catch (error) {
      this.#parts.log.error({ err: error, job: admitted.jobId }, "a job could not be routed");
      this.#end(msg, admitted.jobId, request.dataClass, MeshError.from(error), undefined, 1);
    }
  }

  /** Checks a job before anything is decided. @throws MeshError naming the field. */
  #admit(msg: Msg, jobId: string): { jobId: string; request: RouteRequest } {
    const job = readBody(msg, JobRequest);
    if (msg.reply === undefined || msg.reply === "") throw new MeshError("bad_request", "a job needs a reply subject: use a NATS request", { field: "reply" });
    if (job.messages === undefined && job.prompt === undefined) {
      throw new MeshError("bad_request", "messages: a job needs messages or a prompt", { field: "messages" });
    }
    if (this.#table.waitingCount >= MAX_WAITING) throw new MeshError("all_busy", "this router has too many jobs waiting", { retryAfterMs: 1000 });
    const id = job.job_id ?? jobId;
    return { jobId: id, request: this.#toRequest(msg, job, id, lastToken(msg.subject)) };
  }

  #toRequest(msg: Msg, job: JobRequest, jobId: string, queue: string): RouteRequest {
    const deadline = Number(header(msg, HEADERS.deadline));
    const envelope = {
      jobId,
      queue,
      headerClass: header(msg, HEADERS.dataClass),
      headerDeadlineMs: Number.isFinite(deadline) && deadline > 0 ? deadline : undefined,
      bodyBytes: msg.data.length,
      encrypted: this.#parts.transportProtected,
    };
    return toRouteRequest(job, envelope, this.#parts.routing(), Date.now());
  }

  /** Records the decision, durably for P0 and P1, then dispatches (DESIGN promise 3). */
  async #go(msg: Msg, jobId: string, request: RouteRequest, decision: Decision): Promise<void> {
    const { events, metrics } = this.#parts;
    const traceparent = header(msg, HEADERS.traceparent);
    const recorded = events.record(
      "job_decided",
      { job_id: jobId, attempt: 1, decision, sizes: { request_bytes: msg.data.length, prompt_tokens_estimate: request.promptTokens } },
      { dataClass: request.dataClass, traceparent },
    );
    metrics.decisions.inc({ outcome: decision.outcome, class: request.dataClass });
    if (request.dataClass !== "P2" && !(await within(recorded.durable, AUDIT_LIMIT_MS))) {
      const error = new MeshError("audit_unavailable", "the decision could not be recorded; P0 and P1 jobs do not run unrecorded", { retryAfterMs: 1000 });
      return this.#end(msg, jobId, request.dataClass, error, recorded.id, 1);
    }
    const { node_id: nodeId, model } = decision;
    if (nodeId === null || model === null) {
      const error = decision.error === null ? new MeshError("no_node", "no node can take this job") : MeshError.fromWire(decision.error);
      return this.#end(msg, jobId, request.dataClass, error, recorded.id, 1);
    }
    this.#send({
      jobId,
      message: msg,
      request,
      decision,
      decisionId: recorded.id,
      traceparent,
      nodeId,
      model,
      attempt: 1,
      sentAtMs: performance.now(),
      cancelled: false,
    });
  }

  #send(dispatch: Dispatch): void {
    const { bus, fleet, id, metrics } = this.#parts;
    const { message, request } = dispatch;
    const token = this.#table.add(dispatch);
    const headers = headersFor("json");
    const contentType = header(message, HEADERS.contentType);
    if (contentType !== undefined) headers.set(HEADERS.contentType, contentType);
    headers.set(HEADERS.job, dispatch.jobId);
    headers.set(HEADERS.dataClass, request.dataClass);
    headers.set(HEADERS.deadline, String(request.deadlineMs));
    headers.set(HEADERS.reply, message.reply ?? "");
    headers.set(HEADERS.model, dispatch.model);
    headers.set(HEADERS.attempt, String(dispatch.attempt));
    headers.set(HEADERS.decision, dispatch.decisionId);
    if (dispatch.traceparent !== undefined) headers.set(HEADERS.traceparent, dispatch.traceparent);
    fleet.onDispatch(dispatch.nodeId);
    metrics.dispatches.inc();
    bus.nc.publish(bus.subjects.run(request.dataClass, dispatch.nodeId), message.data, { headers, reply: bus.subjects.verdict(id, token) });
  }

  #onVerdict(msg: Msg): void {
    const token = lastToken(msg.subject);
    if (msg.headers?.code === 503 && msg.data.length === 0) {
      const dispatch = this.#table.remove(token);
      if (dispatch === undefined) return;
      this.#parts.fleet.onGone(dispatch.nodeId);
      return this.#redispatch(dispatch, new MeshError("node_lost", `${dispatch.nodeId} is not on the bus`));
    }
    let verdict: Verdict;
    try {
      verdict = readBody(msg, Verdict);
    } catch (error) {
      const rejection = MeshError.from(error);
      if (rejection.code === "codec_unknown") learnFromPeer(this.#parts.bus, header(msg, HEADERS.contentType));
      return this.#parts.rejections.add("verdict", rejection);
    }
    this.#parts.fleet.onLoad(verdict.node_id, verdict.load);
    if (verdict.type === "accepted") {
      const dispatch = this.#table.markRunning(token);
      if (dispatch?.cancelled === true) this.#parts.bus.nc.publish(this.#parts.bus.subjects.cancel(dispatch.jobId), "");
      if (dispatch !== undefined) this.#parts.metrics.accept.observe((performance.now() - dispatch.sentAtMs) / 1000);
      return;
    }
    const dispatch = this.#table.remove(token);
    if (dispatch === undefined) return;
    this.#parts.fleet.onDone(dispatch.nodeId);
    if (verdict.type === "refused") {
      this.#parts.fleet.onRefused(dispatch.nodeId);
      this.#redispatch(dispatch, MeshError.fromWire(verdict.error));
    } else if (verdict.timing !== null) this.#parts.fleet.observe(dispatch, verdict.timing, verdict.status);
  }

  /** The next pick of the decision, at most `retry_attempts` more; then the job is refused with the last reason. */
  #redispatch(dispatch: Dispatch, error: MeshError): void {
    const { jobId, request, attempt } = dispatch;
    if (dispatch.cancelled) return this.#end(dispatch.message, jobId, request.dataClass, new MeshError("cancelled", "cancelled by the caller"), dispatch.decisionId, attempt);
    const next = attempt > this.#parts.routing().defaults.retry_attempts ? undefined : this.#nextPick(dispatch);
    this.#parts.metrics.redispatches.inc({ code: error.code });
    this.#parts.events.record(
      "job_redispatched",
      { job_id: jobId, attempt, from_node_id: dispatch.nodeId, to_node_id: next?.nodeId ?? null, error: error.toWire() },
      { dataClass: request.dataClass, traceparent: dispatch.traceparent },
    );
    if (next === undefined) return this.#end(dispatch.message, jobId, request.dataClass, error, dispatch.decisionId, attempt);
    this.#send({ ...dispatch, ...next, attempt: attempt + 1, sentAtMs: performance.now() });
  }

  /** Decides again without the nodes already tried: the class and every filter are checked anew at each hop. */
  #nextPick(dispatch: Dispatch): { request: RouteRequest; nodeId: string; model: string } | undefined {
    const request = { ...dispatch.request, exclude: new Set([...dispatch.request.exclude, dispatch.nodeId]) };
    const decision = decide(request, this.#parts.fleet.fleet, this.#parts.policy(), Date.now(), this.#random);
    if (decision.node_id === null || decision.model === null) return undefined;
    return { request, nodeId: decision.node_id, model: decision.model };
  }

  #onNodeLost(nodeId: string): void {
    for (const dispatch of this.#table.takeRunning((running) => running.nodeId === nodeId)) {
      const error = new MeshError("node_lost", `${nodeId} was lost while it ran the job`);
      this.#end(dispatch.message, dispatch.jobId, dispatch.request.dataClass, error, dispatch.decisionId, dispatch.attempt, nodeId);
    }
  }

  #onCancel(msg: Msg): void {
    const dispatch = this.#table.findJob(lastToken(msg.subject));
    if (dispatch !== undefined) dispatch.cancelled = true;
  }

  #onRoute(msg: Msg): void {
    try {
      const job = readBody(msg, JobRequest);
      const request = this.#toRequest(msg, job, job.job_id ?? newId(), job.task_type ?? "chat");
      respond(msg, decide(request, this.#parts.fleet.fleet, this.#parts.policy(), Date.now(), this.#random));
    } catch (error) {
      const rejection = MeshError.from(error);
      this.#parts.rejections.add("route", rejection);
      respond(msg, { error: rejection.toWire() });
    }
  }

  #refuseMalformed(msg: Msg, jobId: string, cause: unknown): void {
    const error = MeshError.from(cause);
    if (error.code === "internal") this.#parts.log.error({ err: cause }, "a job could not be read");
    if (error.code === "codec_unknown") learnFromPeer(this.#parts.bus, header(msg, HEADERS.contentType));
    this.#parts.rejections.add("submit", error);
    const safeId = JobRequest.shape.job_id.safeParse(jobId).success ? jobId : newId();
    answerEnding(msg, { jobId: safeId, status: error.code === "deadline_exceeded" ? "expired" : "refused", error, attempts: 1 });
  }

  /** The one ending of a job that ends here: recorded, then told. */
  #end(message: Msg, jobId: string, dataClass: DataClass, error: MeshError, decisionId: string | undefined, attempts: number, nodeId?: string): void {
    const status = error.code === "cancelled" ? "cancelled" : nodeId === undefined ? "refused" : "failed";
    this.#parts.metrics.endings.inc({ status, code: error.code });
    answerEnding(message, { jobId, status, error, dataClass, decisionId, attempts, nodeId });
    try {
      this.#parts.events.record(
        "job_ended",
        {
          job_id: jobId,
          status,
          node_id: nodeId ?? null,
          layer: null,
          model: null,
          decision_id: decisionId ?? null,
          finish_reason: null,
          usage: null,
          timing: null,
          error: error.toWire(),
        },
        { dataClass, traceparent: header(message, HEADERS.traceparent) },
      );
    } catch (cause) {
      this.#parts.log.warn({ err: cause, job: jobId }, "the ending of a refused job could not be recorded");
    }
  }
}
