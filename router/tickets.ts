import type { Msg } from "@nats-io/nats-core";
import {
  HEADERS,
  MeshError,
  TICKET_LIFE_MS,
  lastToken,
  type Decision,
  type RouteQuery,
  type TicketReply,
  type Verdict,
} from "../bus-schemas/index.ts";
import { header, headersFor, respond } from "../service/messages.ts";
import { readCancel } from "../service/cancels.ts";
import { encode } from "../service/codec.ts";
import { recordKey } from "../service/key-record.ts";
import { VERSION } from "../service/version.ts";
import { endingOf } from "./answer.ts";
import { TICKETS_SUFFIX } from "./caps/caps.ts";
import { recordMismatch } from "./class-mismatch.ts";
import { declaredOf } from "./declared.ts";
import { DispatchTable, type Dispatch } from "./dispatch-table.ts";
import type { Dispatcher } from "./dispatcher.ts";
import type { RouterParts } from "./parts.ts";
import { decideRecorded } from "./policy/record-inputs.ts";
import type { RouteRequest } from "./policy/types.ts";
import { TicketMaker } from "./ticket-maker.ts";
import type { Turn } from "./waiting/line.ts";
import { stillAsleep } from "./wake/still-asleep.ts";

/**
 * A ticket holds a place within its queue's cap for this long, milliseconds: a client seals its job in a fraction of it. One that
 * comes later than that runs all the same.
 */
const HOLD_MS = 2000;
/** Tickets that may be out at a time; beyond it new ones are refused. */
const MAX_OUT = 20_000;

/** What tickets share with plain jobs. */
type Desk = Pick<
  Dispatcher,
  "caps" | "end" | "gate" | "handOver" | "known" | "line" | "record" | "retries" | "verdicts"
>;

/** What the answer says beside the ticket. */
type About = Pick<TicketReply, "security_level" | "attempts_left">;

/** A request for a ticket. */
type Declared = ReturnType<typeof declaredOf>;

interface Asked {
  msg: Msg;
  request: RouteRequest;
  attempt: number;
}

/**
 * Tickets for sealed jobs (ADR 0011): decides as for any job, records, durably for P0 and P1, and signs for the caller
 * where its job may go. The job itself never comes here; the node's verdicts do, so that it counts as a dispatch.
 */
export class Tickets {
  /** Name of this router in tickets: a part of the subjects of its key and of the nodes' verdicts. */
  readonly id: string;
  readonly #parts: RouterParts;
  readonly #dispatcher: Desk;
  readonly #maker: TicketMaker;
  /** Waiting: the ticket is out. Running: the node has accepted. */
  readonly #out = new DispatchTable();

  constructor(parts: RouterParts, dispatcher: Desk) {
    this.#parts = parts;
    this.#dispatcher = dispatcher;
    this.id = parts.id + TICKETS_SUFFIX;
    this.#maker = new TicketMaker(parts, this.id, () => this.#out.newToken());
    dispatcher.caps.count((queue) => this.#out.countOf(queue));
    parts.fleet.onLost((nodeId) => this.#onNodeLost(nodeId));
  }

  get inFlight(): { tickets: number; sealed: number } {
    return { tickets: this.#out.waitingCount, sealed: this.#out.runningCount };
  }

  start(): void {
    const { bus } = this.#parts;
    this.#dispatcher.verdicts.hear(this.id, {
      find: (token) => this.#out.find(token),
      onVerdict: (verdict, dispatch, token) => this.#onVerdict(verdict, dispatch, token),
    });
    bus.listen(bus.subjects.cancels, (msg) => this.#onCancel(msg));
    recordKey(this.#parts, { role: "router_signing", node_id: null, router_id: this.id }, this.#maker.publicKey);
    this.announce();
  }

  /** Tells the agents our key, and the other routers our share of the caps; call it every second. */
  announce(): void {
    const { bus } = this.#parts;
    if (!bus.connected()) return;
    const shares = this.#dispatcher.caps.announcement();
    const key = { router: this.id, ...this.#maker.publicKey, shares };
    bus.nc.publish(bus.subjects.routerKey(this.id), encode(key, "json"), { headers: headersFor("json") });
  }

  /** Gives up tickets that were not used in time, and running jobs long past their deadline; call it about twice a second. */
  sweep(): void {
    for (const { jobId, nodeId } of this.#out.takeUnused(performance.now() - TICKET_LIFE_MS)) {
      this.#parts.fleet.onDone(nodeId);
      this.#dispatcher.known.ended(jobId);
    }
    this.#out.holdNoLonger(performance.now() - HOLD_MS);
    this.#dispatcher.handOver.endOverdue(this.#out);
  }

  /**
   * Answers a request for a ticket: with one, as soon as a node has a place, or that the job needs none, or with the job's
   * ending when it is refused.
   * @param request of the same job, which counts as sealed
   * @throws MeshError `conflict`, which is no ending of the job that has this id
   */
  answer(msg: Msg, query: RouteQuery, request: RouteRequest): void {
    const { events } = this.#parts;
    const { routing } = this.#parts.policy();
    const { jobId, dataClass } = request;
    const attempt = query.attempt ?? 1;
    const about: About = { security_level: dataClass, attempts_left: this.#dispatcher.handOver.triesLeft({ attempt }) };
    // Decided and recorded when it is submitted.
    if (!routing.security[dataClass].require_encryption)
      return respond(msg, { ...about, sealed: false, ticket: null } satisfies TicketReply);
    if (this.#dispatcher.known.submitted(jobId, msg, attempt, request.deadlineMs) === "joined") return;
    try {
      // Asked for again: the former ticket is not used any more.
      this.#release(jobId);
      if (this.#out.waitingCount >= MAX_OUT)
        throw new MeshError("all_busy", "this router has too many tickets out", { retryAfterMs: 1000 });
      this.#dispatcher.retries.asked(attempt);
      recordMismatch(events, msg, query, request);
      const declared = declaredOf(msg, query, dataClass, routing.default_level);
      this.#dispatcher.line.enter({
        jobId,
        request,
        bytes: msg.data.length,
        go: (waitedMs) => this.#decide({ msg, request, attempt, about, declared }, waitedMs),
        end: (error, waitedMs) => this.#refuse({ msg, request, attempt }, error, undefined, waitedMs),
        stillHere: () => respond(msg, { type: "working", queued: true }),
      });
    } catch (cause) {
      this.#refuse({ msg, request, attempt }, cause);
    }
  }

  #decide(asked: Asked & { about: About; declared: Declared }, waitedMs: number): Turn {
    const { msg, request, attempt, declared } = asked;
    const { events, fleet, metrics, policy, random } = this.#parts;
    const { jobId, dataClass, caller } = request;
    try {
      const { decision, inputs } = decideRecorded(request, fleet.fleet, policy(), fleet.nowMs(), random, VERSION);
      if (decision.error?.code === "all_busy") return "full";
      const help = decision.outcome === "refused" ? this.#parts.wakes?.help(request, waitedMs) : undefined;
      if (help?.inTime === true) return "asleep";
      const sizes = { request_bytes: msg.data.length, prompt_tokens_estimate: request.promptTokens };
      const waited = waitedMs > 0 ? { waited_ms: waitedMs } : {};
      const who = caller === undefined ? {} : { caller };
      const common = { job_id: jobId, attempt, declared, deadline_unix_ms: Math.floor(request.deadlineMs), ...who };
      const data = { ...common, decision, sizes, inputs, ...waited };
      const traceparent = header(msg, HEADERS.traceparent);
      const recorded = events.record("job_decided", data, { dataClass, traceparent });
      metrics.decisions.inc({ outcome: decision.outcome, class: dataClass });
      if (help === undefined) void this.#give(asked, decision, recorded);
      else this.#refuse(asked, stillAsleep(help), recorded.id);
      return decision.outcome === "routed" ? "sent" : "ended";
    } catch (cause) {
      this.#refuse(asked, cause);
      return "ended";
    }
  }

  /** Signs and answers once the decision's record is durable. */
  async #give(
    asked: Asked & { about: About },
    decision: Decision,
    { id: decisionId, durable }: { id: string; durable: Promise<void> },
  ): Promise<void> {
    const { msg, request, attempt, about } = asked;
    const { fleet, metrics } = this.#parts;
    const { jobId, dataClass, taskType } = request;
    const release = this.#dispatcher.caps.hold(taskType);
    try {
      const [signed, superseded] = await Promise.all([
        this.#maker.sign(request, decision, decisionId, attempt),
        dataClass === "P2" ? undefined : this.#dispatcher.gate.pass(jobId, durable),
      ]);
      if (superseded !== undefined) return;
      const { ticket, token } = this.#maker.stillGood(signed, decision);
      this.#out.add(
        {
          jobId,
          message: msg,
          request,
          decision,
          decisionId,
          traceparent: header(msg, HEADERS.traceparent),
          nodeId: ticket.node,
          model: ticket.model,
          attempt,
          sentAtMs: performance.now(),
          cancelled: false,
          stream: true,
          resumes: header(msg, HEADERS.resume) !== undefined,
        },
        ticket.id,
      );
      fleet.onDispatch(ticket.node);
      this.#dispatcher.retries.sent(attempt);
      respond(msg, { ...about, sealed: true, ticket: token } satisfies TicketReply);
      metrics.dispatches.inc();
    } catch (cause) {
      this.#refuse(asked, cause, decisionId);
    } finally {
      release();
    }
  }

  /** The job's ending instead of a ticket. */
  #refuse({ msg, request, attempt }: Asked, cause: unknown, decisionId?: string, waitedMs?: number): void {
    const { jobId, dataClass, caller } = request;
    const error = MeshError.from(cause);
    if (error.code === "internal") this.#parts.log.error({ err: cause, job: jobId }, "a ticket could not be given");
    this.#dispatcher.end({
      message: msg,
      jobId,
      attempts: attempt,
      dataClass,
      error,
      decisionId,
      waitedMs,
      caller,
    });
  }

  #onVerdict(verdict: Verdict, dispatch: Dispatch, token: string): void {
    const { fleet } = this.#parts;
    const { handOver, known } = this.#dispatcher;
    if (verdict.type === "accepted") {
      if (this.#out.markRunning(token) !== undefined) handOver.onAccepted(dispatch);
      return;
    }
    if (verdict.type === "refused" && this.#out.waiting(token) === undefined) return;
    this.#out.remove(token);
    fleet.onDone(dispatch.nodeId);
    if (verdict.type === "ended") {
      const goesOn = handOver.onEnded(dispatch, verdict) !== undefined;
      if (verdict.status === "finished") known.finished(dispatch.jobId);
      else if (!goesOn) known.ended(dispatch.jobId);
      return;
    }
    const error = MeshError.fromWire(verdict.error);
    this.#parts.metrics.redispatches.inc({ code: error.code });
    // A ticket that came too late is no word about how busy the node is.
    if (error.code !== "ticket_rejected") fleet.onRefused(dispatch.nodeId);
    // Its caller asks for the next ticket, unless that could not help or this was the last.
    const over = handOver.triesLeft(dispatch) === 0 || !error.retryable;
    // The node has told the caller; a second word would come to whoever asked for the ticket.
    if (over) this.#dispatcher.record(endingOf(dispatch, error));
  }

  /** Their callers ask for the next ticket; a job that nobody goes on with ends here. */
  #onNodeLost(nodeId: string): void {
    const { handOver } = this.#dispatcher;
    const { waiting, running } = this.#out.takeOf(nodeId);
    for (const dispatch of [...waiting, ...running]) {
      this.#parts.fleet.onDone(nodeId);
      handOver.supersede(dispatch);
      handOver.toCallerOrEnd(dispatch, new MeshError("node_lost", `${nodeId} was lost while it ran the job`));
    }
  }

  #onCancel(msg: Msg): void {
    const jobId = lastToken(msg.subject);
    const { superseded, node_id: nodeId, by_router: byRouter } = readCancel(msg);
    if (byRouter) return;
    if (superseded) return this.#dispatcher.handOver.onSuperseded(this.#out, jobId, nodeId);
    const dispatch = this.#out.findJob(jobId);
    if (dispatch === undefined) return;
    dispatch.cancelled = true;
    if (this.#release(jobId)) this.#dispatcher.known.ended(jobId);
  }

  /** Gives up a ticket that its caller will not use; a job that a node has accepted is that node's to end. */
  #release(jobId: string): boolean {
    const unused = this.#out.takeJob(jobId);
    if (unused !== undefined) this.#parts.fleet.onDone(unused.nodeId);
    return unused !== undefined;
  }
}
