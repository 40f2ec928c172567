import type { Msg } from "@nats-io/nats-core";
import {
  CONTENT_TYPES,
  HEADERS,
  MeshError,
  lastToken,
  type CancelRequest,
  type Verdict,
} from "../bus-schemas/index.ts";
import { readCancel } from "../service/cancels.ts";
import { pause } from "../service/loop.ts";
import { header, makeHeaders } from "../service/messages.ts";
import { VERSION } from "../service/version.ts";
import type { RouterEnding } from "./answer.ts";
import { AuditGate } from "./audit-gate.ts";
import { DispatchTable, type Dispatch } from "./dispatch-table.ts";
import { Endings } from "./endings.ts";
import { HandOver } from "./hand-over.ts";
import type { RouterParts } from "./parts.ts";
import { decideRecorded, type RecordedDecision } from "./policy/record-inputs.ts";
import { Verdicts } from "./verdicts.ts";

/** A node says accepted or refused within this time, or the job goes to the next one, milliseconds (DESIGN promise 6). */
export const ACCEPT_LIMIT_MS = 250;
/** A job of whose ending its node says nothing is ended here this long after its deadline, milliseconds. */
export const OVERDUE_MS = 2000;

/** Sends decided jobs to their nodes, hears the nodes' verdicts, and picks again when a node refuses or is lost. */
export class Dispatcher {
  /** P0 and P1 pass it before each dispatch. */
  readonly gate = new AuditGate();
  readonly verdicts: Verdicts;
  /** Shared with the tickets: callers of sealed jobs go on in the same way. */
  readonly handOver: HandOver;
  readonly #parts: RouterParts;
  readonly #endings: Endings;
  readonly #table = new DispatchTable();
  #sweptAtMs = -Infinity;

  constructor(parts: RouterParts) {
    this.#parts = parts;
    this.verdicts = new Verdicts(parts);
    this.#endings = new Endings(parts);
    this.handOver = new HandOver(parts, this.#endings);
    parts.fleet.onLost((nodeId) => this.#onNodeLost(nodeId));
  }

  get inFlight(): { waiting: number; running: number } {
    return { waiting: this.#table.waitingCount, running: this.#table.runningCount };
  }

  start(): void {
    const { bus, id } = this.#parts;
    this.verdicts.hear(id, {
      find: (token) => this.#table.find(token),
      onVerdict: (verdict, dispatch, token) => this.#onVerdict(verdict, dispatch, token),
      onNobody: (token) => this.#onNobody(token),
    });
    this.verdicts.start();
    bus.listen(bus.subjects.cancels, (msg) => this.#onCancel(msg));
  }

  /** Waits until no job waits for its record or for a node's word; one that does has it within the limits per try. */
  async drain(): Promise<void> {
    while (this.#table.waitingCount + this.gate.size > 0) {
      await pause(ACCEPT_LIMIT_MS / 10);
      this.sweep();
    }
  }

  /** Re-picks jobs whose node kept silent; call it at least three times per `ACCEPT_LIMIT_MS`. */
  sweep(): void {
    const nowMs = performance.now();
    // A late sweep blames this process first: the verdicts may lie unread in its own socket until after this turn.
    const late = nowMs - this.#sweptAtMs > ACCEPT_LIMIT_MS / 2;
    this.#sweptAtMs = nowMs;
    for (const dispatch of late ? [] : this.#table.takeSilent(nowMs - ACCEPT_LIMIT_MS)) {
      this.#parts.fleet.onSilent(dispatch.nodeId);
      // If it takes the job yet, two nodes would have it.
      this.handOver.supersede(dispatch);
      this.#redispatch(
        dispatch,
        new MeshError("node_lost", `${dispatch.nodeId} did not answer within ${ACCEPT_LIMIT_MS} ms`),
      );
    }
    this.handOver.sweep();
    for (const dispatch of this.#table.takeOverdue(Date.now() - OVERDUE_MS)) {
      this.#parts.fleet.onDone(dispatch.nodeId);
      this.#endDispatch(dispatch, overdue(dispatch));
    }
  }

  /**
   * Forwards the caller's own bytes; the answer goes to the caller's inbox, the verdict comes back here.
   * @throws MeshError `payload_too_large` when the bus would not take the job with our headers, or `bus_unavailable`; the
   * job is then not dispatched.
   */
  send(dispatch: Dispatch): void {
    const { bus, fleet, id, metrics } = this.#parts;
    const { message, request } = dispatch;
    const headers = makeHeaders({
      [HEADERS.contentType]: header(message, HEADERS.contentType) ?? CONTENT_TYPES.json,
      [HEADERS.job]: dispatch.jobId,
      [HEADERS.dataClass]: request.dataClass,
      [HEADERS.deadline]: String(request.deadlineMs),
      [HEADERS.reply]: message.reply ?? "",
      [HEADERS.model]: dispatch.model,
      [HEADERS.attempt]: String(dispatch.attempt),
      [HEADERS.decision]: dispatch.decisionId,
      [HEADERS.handBack]: this.#handBackTo(dispatch),
      [HEADERS.traceparent]: dispatch.traceparent,
    });
    const token = this.#table.add(dispatch);
    try {
      bus.nc.publish(bus.subjects.run(request.dataClass, dispatch.nodeId), message.data, {
        headers,
        reply: bus.subjects.verdict(id, dispatch.nodeId, token),
      });
    } catch (cause) {
      this.#table.remove(token);
      throw bus.nc.isClosed() || bus.nc.isDraining()
        ? new MeshError("bus_unavailable", "the router is stopping", { cause })
        : new MeshError("payload_too_large", "the job with its headers is larger than the bus takes", { cause });
    }
    fleet.onDispatch(dispatch.nodeId);
    metrics.dispatches.inc();
  }

  /** Who goes on when the node fails: a whole answer is ours to ask for again, a stream is its caller's. */
  #handBackTo(dispatch: Dispatch): "router" | "caller" | undefined {
    if (dispatch.stream) return this.handOver.callerGoesOn(dispatch) ? "caller" : undefined;
    return this.handOver.triesLeft(dispatch) > 0 ? "router" : undefined;
  }

  #onNobody(token: string): void {
    const dispatch = this.#table.waiting(token);
    if (dispatch === undefined) return;
    this.#table.remove(token);
    this.#parts.fleet.onGone(dispatch.nodeId);
    this.#redispatch(dispatch, new MeshError("node_lost", `${dispatch.nodeId} is not on the bus`));
  }

  #onVerdict(verdict: Verdict, dispatch: Dispatch, token: string): void {
    const { bus, fleet, metrics } = this.#parts;
    if (verdict.type === "accepted") {
      if (this.#table.markRunning(token) === undefined) return;
      dispatch.accepted = true;
      if (dispatch.cancelled) bus.nc.publish(bus.subjects.cancel(dispatch.jobId), "");
      metrics.accept.observe((performance.now() - dispatch.sentAtMs) / 1000);
      return;
    }
    // A job that a node has accepted is that node's to end; it cannot be handed back.
    if (verdict.type === "refused" && this.#table.waiting(token) === undefined) return;
    this.#table.remove(token);
    fleet.onDone(dispatch.nodeId);
    if (verdict.type === "refused") {
      fleet.onRefused(dispatch.nodeId);
      this.#redispatch(dispatch, MeshError.fromWire(verdict.error));
      return;
    }
    if (verdict.timing !== null) fleet.observe(dispatch, verdict.timing, verdict.status);
    const error = verdict.error === null ? undefined : MeshError.fromWire(verdict.error);
    if (verdict.status === "failed" && error?.retryable !== false) fleet.onFailed(dispatch.nodeId);
    if (!verdict.handed_back || error === undefined) return;
    // Its caller has heard it and decides; a whole answer is asked for again here.
    if (dispatch.stream) this.handOver.toCaller(dispatch, error);
    else {
      // By this the node knows that it was taken back.
      this.handOver.supersede(dispatch);
      this.#redispatch(dispatch, error);
    }
  }

  /** The next pick of the decision, at most `retry_attempts` more; then the job is refused with the last reason. */
  #redispatch(dispatch: Dispatch, error: MeshError): void {
    const { jobId, request, attempt } = dispatch;
    if (dispatch.cancelled) return this.#endDispatch(dispatch, new MeshError("cancelled", "cancelled by the caller"));
    try {
      const { retry_attempts: retries } = this.#parts.policy().routing.defaults;
      const next = attempt > retries ? undefined : this.#nextPick(dispatch);
      this.#parts.metrics.redispatches.inc({ code: error.code });
      const { durable } = this.#parts.events.record(
        "job_redispatched",
        {
          job_id: jobId,
          attempt,
          from_node_id: dispatch.nodeId,
          to_node_id: next?.to?.nodeId ?? null,
          error: error.toWire(),
          decision: next?.decision ?? null,
          inputs: next?.inputs ?? null,
        },
        { dataClass: request.dataClass, traceparent: dispatch.traceparent },
      );
      const to = next?.to;
      if (next === undefined || to === undefined) return this.#endDispatch(dispatch, error);
      const { request: without, decision } = next;
      const again = {
        ...dispatch,
        ...to,
        request: without,
        decision,
        attempt: attempt + 1,
        sentAtMs: performance.now(),
      };
      if (request.dataClass === "P2") this.send(again);
      else void this.#sendRecorded(again, durable);
    } catch (cause) {
      this.#endDispatch(dispatch, MeshError.from(cause));
    }
  }

  /** The second try of a P0 or P1 job is as recorded as the first (DESIGN promise 3). */
  async #sendRecorded(dispatch: Dispatch, durable: Promise<void>): Promise<void> {
    try {
      await this.gate.pass(dispatch.jobId, durable);
      this.send({ ...dispatch, sentAtMs: performance.now() });
    } catch (cause) {
      this.#endDispatch(dispatch, MeshError.from(cause));
    }
  }

  /** Decides again without the nodes already tried: the class and every filter are checked anew at each hop. */
  #nextPick(dispatch: Dispatch): NextPick {
    const { fleet, policy, random } = this.#parts;
    const request = { ...dispatch.request, exclude: new Set([...dispatch.request.exclude, dispatch.nodeId]) };
    const made = decideRecorded(request, fleet.fleet, policy(), fleet.nowMs(), random, VERSION);
    const { node_id: nodeId, model } = made.decision;
    return { ...made, request, to: nodeId === null || model === null ? undefined : { nodeId, model } };
  }

  /** Whatever the node had is lost with it; where nobody has heard anything of an answer, nobody needs to notice. */
  #onNodeLost(nodeId: string): void {
    const { waiting, running } = this.#table.takeOf(nodeId);
    for (const dispatch of [...waiting, ...running]) {
      this.#parts.fleet.onDone(nodeId);
      this.handOver.supersede(dispatch);
    }
    const error = new MeshError("node_lost", `${nodeId} was lost before it answered`);
    for (const dispatch of waiting) this.#redispatch(dispatch, error);
    for (const dispatch of running) {
      const lost = new MeshError("node_lost", `${nodeId} was lost while it ran the job`);
      if (!dispatch.stream) this.#redispatch(dispatch, lost);
      else if (this.handOver.callerGoesOn(dispatch) && !dispatch.cancelled) {
        this.handOver.tellLost(dispatch);
        this.handOver.toCaller(dispatch, lost);
      } else this.#endDispatch(dispatch, lost);
    }
  }

  #onCancel(msg: Msg): void {
    const jobId = lastToken(msg.subject);
    const cancel = readCancel(msg);
    if (cancel.by_router) return;
    this.handOver.onCancel(jobId, cancel);
    if (cancel.superseded) return this.#onSuperseded(jobId, cancel);
    this.gate.cancel(jobId);
    const dispatch = this.#table.findJob(jobId);
    if (dispatch !== undefined) dispatch.cancelled = true;
  }

  /** The newer try has the same job id: cancelling by it later, or ending this one, would reach that one too. */
  #onSuperseded(jobId: string, { node_id: nodeId }: CancelRequest): void {
    const old = this.#table.findJob(jobId);
    if (old === undefined) return;
    if (nodeId !== undefined && old.nodeId !== nodeId) return;
    const superseded = this.#table.takeJob(jobId, true);
    if (superseded === undefined) return;
    this.#parts.fleet.onDone(superseded.nodeId);
    if (!superseded.accepted) return;
    // It took the job and said nothing to its caller: in its favour speaks only that it sends heartbeats.
    this.#parts.fleet.onMute(superseded.nodeId);
    this.handOver.recordHop(superseded, new MeshError("node_lost", "its caller heard nothing more of it").toWire());
  }

  /** The one ending of a job that ends here: told, and recorded. */
  end(ending: RouterEnding): void {
    this.#endings.end(ending);
  }

  #endDispatch(dispatch: Dispatch, error: MeshError): void {
    const { message, jobId, request, decisionId, attempt, accepted, nodeId } = dispatch;
    const ending = { message, jobId, error, attempts: attempt, dataClass: request.dataClass, decisionId };
    this.end(accepted ? { ...ending, nodeId } : ending);
  }
}

interface NextPick extends RecordedDecision {
  request: Dispatch["request"];
  /** Undefined = nowhere. */
  to: Pick<Dispatch, "nodeId" | "model"> | undefined;
}

/** The node took the job, and neither answered nor failed. */
export function overdue({ nodeId }: Pick<Dispatch, "nodeId">): MeshError {
  return new MeshError("deadline_exceeded", `${nodeId} took the job and did not end it before the deadline`);
}
