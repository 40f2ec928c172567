import type { Msg } from "@nats-io/nats-core";
import {
  HEADERS,
  MeshError,
  TICKET_LIFE_MS,
  lastToken,
  type Decision,
  type RouteQuery,
  type SealKey,
  type Ticket,
  type TicketReply,
  type Verdict,
} from "../bus-schemas/index.ts";
import { header, headersFor, respond } from "../service/messages.ts";
import { readCancel } from "../service/cancels.ts";
import { encode } from "../service/codec.ts";
import { TicketSigner } from "../service/sealing/index.ts";
import { VERSION } from "../service/version.ts";
import { recordMismatch } from "./class-mismatch.ts";
import { DispatchTable, type Dispatch } from "./dispatch-table.ts";
import { OVERDUE_MS, overdue, type Dispatcher } from "./dispatcher.ts";
import type { RouterParts } from "./parts.ts";
import { sealKeyOf } from "./policy/filters/encryption.ts";
import { decideRecorded } from "./policy/record-inputs.ts";
import type { RouteRequest } from "./policy/types.ts";

/** Tickets that may be out at a time; beyond it new ones are refused. */
const MAX_OUT = 20_000;

/** What tickets need of the dispatcher beside them. */
type TicketDispatcher = Pick<Dispatcher, "gate" | "end" | "verdicts" | "handOver">;

/** A ticket and the text of it that is sent. */
interface Signed {
  ticket: Ticket;
  token: string;
}

/**
 * Tickets for sealed jobs (ADR 0011): decides as for any job, records, durably for P0 and P1, and signs for the caller
 * where its job may go. The job itself never comes here; the node's verdicts do, so that it counts as a dispatch.
 */
export class Tickets {
  /** Name of this router in tickets: a part of the subjects of its key and of the nodes' verdicts. */
  readonly id: string;
  readonly #parts: RouterParts;
  readonly #dispatcher: TicketDispatcher;
  readonly #signer = new TicketSigner();
  /** Waiting: the ticket is out. Running: the node has accepted. */
  readonly #out = new DispatchTable();

  constructor(parts: RouterParts, dispatcher: TicketDispatcher) {
    this.#parts = parts;
    this.#dispatcher = dispatcher;
    this.id = `${parts.id}-t`;
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
    this.announce();
  }

  /** Tells the agents our key; call it every second. */
  announce(): void {
    const { bus } = this.#parts;
    if (!bus.connected()) return;
    const key = { router: this.id, kid: this.#signer.kid, public_key: this.#signer.publicKey };
    bus.nc.publish(bus.subjects.routerKey(this.id), encode(key, "json"), { headers: headersFor("json") });
  }

  /** Gives up tickets that were not used in time, and running jobs long past their deadline; call it about twice a second. */
  sweep(): void {
    for (const dispatch of this.#out.takeSilent(performance.now() - TICKET_LIFE_MS))
      this.#parts.fleet.onDone(dispatch.nodeId);
    for (const dispatch of this.#out.takeOverdue(Date.now() - OVERDUE_MS)) {
      this.#parts.fleet.onDone(dispatch.nodeId);
      this.#end(dispatch, overdue(dispatch));
    }
  }

  /**
   * Answers a request for a ticket: with one, or that the job needs none, or with the job's ending when it is refused.
   * @param request of the same job, which counts as sealed
   */
  async answer(msg: Msg, query: RouteQuery, request: RouteRequest): Promise<void> {
    const { events, fleet, metrics, random } = this.#parts;
    const policy = this.#parts.policy();
    const { jobId, dataClass } = request;
    const attempt = query.attempt ?? 1;
    const attemptsLeft = Math.max(0, policy.routing.defaults.retry_attempts + 1 - attempt);
    const about = { security_level: dataClass, attempts_left: attemptsLeft };
    const ending = { message: msg, jobId, attempts: attempt, dataClass };
    try {
      // Asked for again: the former ticket is not used any more.
      this.#release(jobId);
      if (this.#out.waitingCount >= MAX_OUT)
        throw new MeshError("all_busy", "this router has too many tickets out", { retryAfterMs: 1000 });
      // Decided and recorded when it is submitted.
      if (!policy.routing.security[dataClass].require_encryption)
        return respond(msg, { ...about, sealed: false, ticket: null } satisfies TicketReply);
      recordMismatch(events, msg, query, request);
      const { decision, inputs } = decideRecorded(request, fleet.fleet, policy, fleet.nowMs(), random, VERSION);
      const traceparent = header(msg, HEADERS.traceparent);
      const sizes = { request_bytes: msg.data.length, prompt_tokens_estimate: request.promptTokens };
      const data = { job_id: jobId, attempt, decision, sizes, inputs };
      const recorded = events.record("job_decided", data, { dataClass, traceparent });
      metrics.decisions.inc({ outcome: decision.outcome, class: dataClass });
      Object.assign(ending, { decisionId: recorded.id });
      const [signed] = await Promise.all([
        this.#sign(request, decision, recorded.id, attempt),
        dataClass === "P2" ? undefined : this.#dispatcher.gate.pass(jobId, recorded.durable),
      ]);
      const { ticket, token } = this.#stillGood(signed, decision);
      this.#out.add(
        {
          jobId,
          message: msg,
          request,
          decision,
          decisionId: recorded.id,
          traceparent,
          nodeId: ticket.node,
          model: ticket.model,
          attempt,
          sentAtMs: performance.now(),
          cancelled: false,
          stream: true,
          resumes: header(msg, HEADERS.resume) !== undefined,
          accepted: false,
        },
        ticket.id,
      );
      fleet.onDispatch(ticket.node);
      respond(msg, { ...about, sealed: true, ticket: token } satisfies TicketReply);
      metrics.dispatches.inc();
    } catch (cause) {
      const error = MeshError.from(cause);
      if (error.code === "internal") this.#parts.log.error({ err: cause, job: jobId }, "a ticket could not be given");
      this.#dispatcher.end({ ...ending, error });
    }
  }

  /**
   * Signs a ticket while the record of its decision is on its way: it leaves this process only when that is durable.
   * @returns undefined when the decision has no node, or none with a key
   */
  async #sign(
    request: RouteRequest,
    decision: Decision,
    decisionId: string,
    attempt: number,
  ): Promise<Signed | undefined> {
    // The record is on its way before: its spool and the bus queued their writes already. Signed at once, it would wait.
    await Promise.resolve();
    const { node_id: nodeId, layer, model } = decision;
    if (nodeId === null || layer === null || model === null) return undefined;
    const nowMs = Date.now();
    const node = this.#keyOf(nodeId, nowMs);
    if (node === undefined) return undefined;
    const ticket: Ticket = {
      v: 1,
      router: this.id,
      signer: this.#signer.kid,
      id: this.#out.newToken(),
      job: request.jobId,
      class: request.dataClass,
      node: nodeId,
      layer,
      boot_id: node.bootId,
      model,
      kid: node.key.kid,
      public_key: node.key.public_key,
      issued_unix_ms: nowMs,
      expires_unix_ms: nowMs + TICKET_LIFE_MS,
      deadline_unix_ms: Math.min(request.deadlineMs, nowMs + MAX_DEADLINE_MS),
      decision_id: decisionId,
      attempt,
    };
    return { ticket, token: this.#signer.sign(ticket) };
  }

  /** @throws MeshError the decision's own, or that the node is gone or another since the ticket was signed. */
  #stillGood(signed: Signed | undefined, { node_id: nodeId, error }: Decision): Signed {
    if (nodeId === null)
      throw error === null ? new MeshError("no_node", "no node can take this job") : MeshError.fromWire(error);
    const node = this.#keyOf(nodeId, Date.now());
    if (signed === undefined || node?.bootId !== signed.ticket.boot_id)
      throw new MeshError("no_node", `${nodeId} went away while its job was decided`, { retryAfterMs: 1000 });
    return signed;
  }

  /** Of a node that is there and can be sealed to. */
  #keyOf(nodeId: string, nowMs: number): { bootId: string; key: SealKey } | undefined {
    const record = this.#parts.fleet.fleet.view(nodeId)?.record;
    const key = record === undefined ? undefined : sealKeyOf(record, nowMs);
    const bootId = record?.boot_id ?? undefined;
    return key === undefined || bootId === undefined ? undefined : { bootId, key };
  }

  #onVerdict(verdict: Verdict, dispatch: Dispatch, token: string): void {
    const { fleet } = this.#parts;
    if (verdict.type === "accepted") {
      dispatch.accepted = true;
      return void this.#out.markRunning(token);
    }
    if (verdict.type === "refused" && this.#out.waiting(token) === undefined) return;
    this.#out.remove(token);
    fleet.onDone(dispatch.nodeId);
    const error = verdict.error === null ? undefined : MeshError.fromWire(verdict.error);
    if (verdict.type === "ended") {
      if (verdict.timing !== null) fleet.observe(dispatch, verdict.timing, verdict.status);
      if (verdict.status === "failed" && error?.retryable !== false) fleet.onFailed(dispatch.nodeId);
      if (verdict.handed_back && error !== undefined) this.#dispatcher.handOver.toCaller(dispatch, error);
      return;
    }
    if (error === undefined) return;
    this.#parts.metrics.redispatches.inc({ code: error.code });
    // A ticket that came too late is no word about how busy the node is.
    if (error.code !== "ticket_rejected") fleet.onRefused(dispatch.nodeId);
    // Its caller asks for the next ticket, unless this was the last.
    if (dispatch.attempt > this.#parts.policy().routing.defaults.retry_attempts) this.#end(dispatch, error);
  }

  /** Their callers ask for the next ticket; a job that nobody goes on with ends here. */
  #onNodeLost(nodeId: string): void {
    const { handOver } = this.#dispatcher;
    const { waiting, running } = this.#out.takeOf(nodeId);
    for (const dispatch of [...waiting, ...running]) {
      this.#parts.fleet.onDone(nodeId);
      handOver.supersede(dispatch);
      const error = new MeshError("node_lost", `${nodeId} was lost while it ran the job`);
      if (!handOver.callerGoesOn(dispatch) || dispatch.cancelled) this.#end(dispatch, error);
      else {
        handOver.tellLost(dispatch);
        // One that was not accepted is like one that was refused.
        if (dispatch.accepted) handOver.toCaller(dispatch, error);
      }
    }
  }

  #end(dispatch: Dispatch, error: MeshError): void {
    const { message, jobId, request, decisionId, attempt, accepted, nodeId } = dispatch;
    const ending = { message, jobId, error, attempts: attempt, dataClass: request.dataClass, decisionId };
    this.#dispatcher.end(accepted ? { ...ending, nodeId } : ending);
  }

  #onCancel(msg: Msg): void {
    const jobId = lastToken(msg.subject);
    const { superseded, node_id: nodeId, by_router: byRouter } = readCancel(msg);
    if (byRouter) return;
    const dispatch = this.#out.findJob(jobId);
    if (dispatch === undefined || !dispatch.accepted) return this.#release(jobId);
    if (!superseded) dispatch.cancelled = true;
    else if (nodeId === dispatch.nodeId) this.#goneOn(jobId);
  }

  /** Its caller heard nothing more of its node, and asks for the next ticket. */
  #goneOn(jobId: string): void {
    const old = this.#out.takeJob(jobId, true);
    if (old === undefined) return;
    this.#parts.fleet.onDone(old.nodeId);
    this.#dispatcher.handOver.recordHop(
      old,
      new MeshError("node_lost", "its caller heard nothing more of it").toWire(),
    );
  }

  /** A ticket whose caller has given it up; a job that a node has accepted is that node's to end. */
  #release(jobId: string): void {
    const unused = this.#out.takeJob(jobId);
    if (unused !== undefined) this.#parts.fleet.onDone(unused.nodeId);
  }
}

/** Deadlines on the bus are below the year 2286; no job of ours is further away than this, milliseconds. */
const MAX_DEADLINE_MS = 30 * 24 * 3_600_000;
